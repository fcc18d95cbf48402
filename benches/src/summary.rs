//! `summary.json`: every comparison with its times, its ratio and its memory.
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The times of our formulation beside one peer's.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Timed {
    /// `bench/size`.
    pub name: String,
    /// Our formulation.
    pub ours: String,
    /// Median seconds of a step.
    pub ours_seconds: f64,
    /// The peer's formulation.
    pub peer: String,
    /// Median seconds of a step.
    pub peer_seconds: f64,
    /// What the ratio divides by.
    pub unit: String,
    /// Its median seconds.
    pub unit_seconds: f64,
    /// `ours_seconds / unit_seconds`.
    pub ratio: f64,
    /// The largest ratio that is good enough.
    pub goal: Option<f64>,
}

/// One line of `summary.json`.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Line {
    /// The times.
    #[serde(flatten)]
    pub timed: Timed,
    /// Peak memory of our step above its inputs, in MiB, where it was measured.
    pub ours_mib: Option<f64>,
    /// The peer's.
    pub peer_mib: Option<f64>,
    /// The largest peak that is good enough.
    pub goal_mib: Option<f64>,
}

/// Where the benches leave their results: `bench/` in the target folder that this program was built
/// in.
pub fn folder() -> PathBuf {
    let mut path = std::env::current_exe().unwrap_or_default();
    while path.pop() {
        if path.file_name().is_some_and(|name| name == "release" || name == "debug") {
            path.pop();
            break;
        }
    }
    path.join("bench")
}
