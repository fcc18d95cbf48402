//! Interface of a benchmark.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use experiment::InputPath;
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use trainer::selection::Scores;
use trainer::{Task, TrainConfig};
use xlmr_model::{Head, Pretrained};

/// Development sets that select the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSelection {
    /// The mean over all languages, as in the paper. Results in other languages are therefore not
    /// strictly zero-shot, because their development sets are used.
    #[default]
    AllLanguages,
    /// Only the English development set, so that no data of other languages is used.
    EnglishOnly,
}

/// Properties and options that all benchmarks have.
pub struct BenchmarkInfo<'a> {
    /// The name of the data set in tables; empty: the title of the benchmark.
    pub name: &'a str,
    /// Whether the recipe has data for the benchmark.
    pub has_data: bool,
    /// Batch size of the evaluation.
    pub batch_size: usize,
    /// Fine-tuning on English; `None` for a probe.
    pub training: Option<(&'a TrainConfig, ModelSelection)>,
}

/// Data, protocol and scoring of a benchmark.
pub trait Benchmark {
    fn info(&self) -> BenchmarkInfo<'_>;

    /// Validates options that are not in [`BenchmarkInfo`] and do not depend on the model; errors
    /// name the key.
    fn validate(&self) -> Result<()>;

    /// Returns the head that the benchmark needs.
    fn head(&self) -> Head;

    /// Returns whether the second text of a pair is in segment 1 even if the model's tokenizer
    /// returns no token types.
    fn enables_pair_segments(&self) -> bool {
        false
    }

    /// Reads the training data and encodes it for `model`. Never called for a probe, which has no
    /// training.
    fn training_task<'a>(&'a self, _: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        bail!("a probe has no training")
    }

    /// Adds files to the folder of a fine-tuned model, such as label names.
    fn add_files(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// Reads and encodes the examples of a split, for scoring `model`.
    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>>;
}

/// Validates options that do not depend on the model; errors name the key.
pub fn validate(task: &dyn Benchmark) -> Result<()> {
    let BenchmarkInfo { batch_size, training, .. } = task.info();
    if let Some((training, _)) = training {
        training.validate().context("fine_tuning")?;
    }
    ensure!(batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
    task.validate()
}

/// Data split for scoring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Development split, which selects the epoch.
    Development,
    Test,
}

/// Examples for scoring a model.
pub struct Scorer<'a> {
    pub languages: Vec<String>,
    pub score: ScoreFn<'a>,
}

/// Function that scores the current model, and writes predictions to the folder, if a folder is
/// given.
pub type ScoreFn<'a> = Box<dyn Fn(Option<&Path>) -> Result<TestResults> + 'a>;

/// Test results of a model in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct TestResults {
    /// Scores by metric and language; models are compared by
    /// [`Row::metric`](crate::suite::Row::metric).
    pub metrics: BTreeMap<String, Scores>,
    /// Values of LAMA's table by data set; empty for other benchmarks.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
}

impl TestResults {
    /// Adds a value.
    pub fn add(&mut self, metric: &str, language: impl ToString, percent: f64) {
        self.metrics.entry(metric.to_owned()).or_default().insert(language.to_string(), percent);
    }
}

/// Rejects a number of steps, because the best epoch is selected.
pub fn check_epochs(fine_tuning: &TrainConfig) -> Result<()> {
    let has_steps = fine_tuning.steps.is_some();
    ensure!(!has_steps, "fine_tuning.steps: set epochs instead; the best epoch is selected");
    Ok(())
}

/// Checks that each list of files by language, with the name of its key, has existing files, and that
/// `dev` has the language that selects the epoch. `content` describes the files in errors.
pub fn check_files(
    lists: &[(&str, &BTreeMap<Language, InputPath>)],
    content: &str,
    selection: ModelSelection,
    dev: &BTreeMap<Language, InputPath>,
) -> Result<()> {
    for (key, files) in lists {
        ensure!(!files.is_empty(), "{key} is empty: give files, such as {key}.en = \"PATH\"");
        files.values().try_for_each(|file| file.required(key, content).map(drop))?;
    }
    let valid = selection != ModelSelection::EnglishOnly || dev.contains_key(&Language::EN);
    ensure!(valid, "selection = \"english_only\": data.dev.en is needed");
    Ok(())
}

/// Rejects a maximum length that exceeds the model's number of positions.
pub fn check_length(key: &str, length: usize, model: &Pretrained) -> Result<()> {
    let positions = model.model.config().max_length();
    let fits = i64::try_from(length).is_ok_and(|length| length <= positions);
    ensure!(fits, "{key} = {length}: the model has {positions} positions");
    Ok(())
}
