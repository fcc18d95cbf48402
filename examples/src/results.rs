//! Files a run leaves behind: written whole or not at all.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use mlqa_eval::Spread;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Writes a whole text file or none.
///
/// # Errors
/// Naming the file.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    whole_file::write(path, text).with_context(|| path.display().to_string())
}

/// Writes JSON, pretty-printed.
///
/// # Errors
/// Naming the file.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).with_context(|| path.display().to_string())?;
    write_text(path, &(text + "\n"))
}

/// Reads JSON.
///
/// # Errors
/// Naming the file, line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

/// Scores in percent, with their standard deviation over seeds where there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Measured {
    /// F1.
    pub f1: f64,
    /// Exact match.
    pub em: f64,
    /// Standard deviation of `f1` over seeds.
    pub f1_sd: Option<f64>,
    /// Standard deviation of `em` over seeds.
    pub em_sd: Option<f64>,
}

impl Measured {
    /// Mean and sample standard deviation of several seeds' (F1, exact match).
    pub fn over(seeds: &[(f64, f64)]) -> Self {
        let f1 = Spread::of(seeds.iter().map(|seed| seed.0));
        let em = Spread::of(seeds.iter().map(|seed| seed.1));
        Self { f1: f1.mean, em: em.mean, f1_sd: f1.sd, em_sd: em.sd }
    }
}

/// One arm of `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ArmSummary {
    /// By question language; contexts are English. `average` is the mean of all but `en`.
    #[serde(flatten)]
    pub scores: BTreeMap<String, Measured>,
    /// Tokens of knowledge injection, padding left out; the mean over seeds.
    pub tokens: u64,
    /// Seconds of training and evaluation; the mean over seeds.
    pub seconds: f64,
}

/// `summary.json`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Summary {
    /// The seeds.
    pub seeds: Vec<u64>,
    /// By arm.
    pub arms: BTreeMap<String, ArmSummary>,
    /// Label retrieval by arm and language, P@1 in percent; the mean over seeds.
    pub retrieval: BTreeMap<String, BTreeMap<String, f64>>,
    /// Seconds of all arms and seeds.
    pub seconds: f64,
}
