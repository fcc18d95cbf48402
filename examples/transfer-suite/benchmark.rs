//! What a benchmark is to the suite, and the table of all.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, bail, ensure};
use mlqa_eval::FileScore;
use serde::{Deserialize, Serialize};
use trainer::selection::Scores;
use trainer::{Task, TrainConfig};
use xlmr_model::{Head, Pretrained};

use crate::recipe::Selection;

/// A benchmark as recipe and tables name it.
pub struct Row {
    /// Its key in `tasks`, and what the names of its arms begin with.
    pub name: &'static str,
    /// What tables call it.
    pub title: &'static str,
    /// The metric that is compared; of facts in several sets, the names of theirs begin with it.
    pub metric: &'static str,
    /// XLM-K's table of it.
    pub printed: Option<&'static str>,
    /// Whether a model is fine-tuned for it; else every seed gives the same, and the first counts.
    pub trains: bool,
}

/// All benchmarks, in the order of the tables.
pub const BENCHMARKS: [Row; 5] = [
    Row { name: "mlqa", title: "MLQA", metric: "f1", printed: Some("001-1"), trains: true },
    Row { name: "ner", title: "NER", metric: "f1", printed: Some("001-2"), trains: true },
    Row { name: "xnli", title: "XNLI", metric: "accuracy", printed: Some("001-3"), trains: true },
    Row { name: "lama", title: "LAMA", metric: "p@1", printed: Some("001-5"), trains: false },
    Row { name: "facts", title: "facts", metric: "p@1", printed: None, trains: false },
];

/// Behind the name of a metric of facts: naming any object of the relation.
pub const UNIFORM: &str = ", guessing";
/// The same: naming the object that most facts of `seen` have in the relation.
pub const FREQUENT: &str = ", most frequent";

/// These metrics, and the rows that they are beside the models.
pub const GUESSES: [(&str, &str); 2] = [
    (UNIFORM, "Guess: any object of the relation"),
    (FREQUENT, "Guess: the relation's most frequent object"),
];

impl Row {
    /// How many seeds count at most.
    pub fn seeds(&self) -> usize {
        if self.trains { usize::MAX } else { 1 }
    }
}

/// Data, a protocol, and how a model is judged by them.
pub trait Benchmark {
    /// Whether the recipe has data for it.
    fn is_given(&self) -> bool;

    /// Checks what needs no model; names the key.
    fn validate(&self) -> Result<()>;

    /// The head that it needs.
    fn head(&self) -> Head;

    /// Reads and encodes what `model` is fine-tuned on; never called for a probe.
    fn fine_tuning<'a>(&'a self, _: &'a Pretrained) -> Result<FineTuning<'a>> {
        bail!("a probe trains nothing")
    }

    /// Completes the folder of a model that was fine-tuned.
    fn complete(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// Reads and encodes the examples of a split, to score `model` on them.
    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>>;
}

/// What a model is scored on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// What chooses the epoch.
    Development,
    Test,
}

/// How a model is fine-tuned on English.
pub struct FineTuning<'a> {
    pub task: Box<dyn Task + 'a>,
    pub config: &'a TrainConfig,
    pub selection: Selection,
}

/// Examples that a model is scored on, as it is.
pub struct Scorer<'a> {
    pub languages: Vec<String>,
    pub score: Score<'a>,
}

/// Scores the model, and writes predictions to the folder, if there is one.
pub type Score<'a> = Box<dyn Fn(Option<&Path>) -> Result<Tested> + 'a>;

/// What a test shows; numbers in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Tested {
    /// By metric and language; [`Row::metric`] is the one that is compared.
    pub metrics: BTreeMap<String, Scores>,
    /// Of question answering: one for each question file.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileScore>,
    /// Of LAMA: the numbers of its table, under their data sets' names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Written to `items.json`.
    #[serde(skip)]
    pub items: Items,
}

/// One value for each item of a test, in percent, by language: what two models are compared by.
pub type Items = BTreeMap<String, Vec<f64>>;

impl Tested {
    /// Adds a number.
    pub fn add(&mut self, metric: &str, language: impl ToString, percent: f64) {
        self.metrics.entry(metric.to_owned()).or_default().insert(language.to_string(), percent);
    }

    /// Adds items that are right or wrong.
    pub fn add_items(&mut self, language: impl ToString, right: impl IntoIterator<Item = bool>) {
        let percent = right.into_iter().map(|right| if right { 100.0 } else { 0.0 });
        self.items.entry(language.to_string()).or_default().extend(percent);
    }
}

/// Refuses inputs that are longer than the model's positions.
pub fn check_length(key: &str, length: usize, model: &Pretrained) -> Result<()> {
    let positions = model.model.config().max_length();
    let fits = i64::try_from(length).is_ok_and(|length| length <= positions);
    ensure!(fits, "{key} = {length}: the model has {positions} positions");
    Ok(())
}
