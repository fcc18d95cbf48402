//! Interface of a benchmark, and the table of all benchmarks.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};
use trainer::selection::Scores;
use trainer::{Task, TrainConfig};
use xlmr_model::{Head, Pretrained};

use crate::lama::{Facts, Lama};
use crate::mlqa::Mlqa;
use crate::ner::Ner;
use crate::recipe::Selection;
use crate::xnli::Xnli;

/// A benchmark in tables.
pub struct Row {
    /// Key in `tasks`, and prefix of the arms' names.
    pub name: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// The metric to compare; with several sets of facts, the prefix of their metrics.
    pub metric: &'static str,
    /// The corresponding table of XLM-K.
    pub printed: Option<&'static str>,
    /// Whether a model is fine-tuned. A probe has the same result with every seed, so only the
    /// first seed is used.
    pub trains: bool,
}

/// Defines `Tasks` and [`Row`]s of a table: key, type, title, metric, printed table, fine-tuning.
macro_rules! tasks {
    ($($name:ident: $task:ty, $title:literal, $metric:literal, $printed:expr, $trains:literal;)*) => {
        /// All benchmarks, in the order of the tables.
        pub const BENCHMARKS: &[Row] = &[$(Row {
            name: stringify!($name),
            title: $title,
            metric: $metric,
            printed: $printed,
            trains: $trains,
        }),*];

        /// The tasks; absent ones are not run.
        #[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Tasks {
            $(#[serde(skip_serializing_if = "Option::is_none")]
            pub $name: Option<$task>,)*
        }

        impl Tasks {
            /// Returns the tasks that are present, in the order of [`BENCHMARKS`].
            fn all(&self) -> Vec<(&'static Row, &dyn Benchmark)> {
                let all = [$(self.$name.as_ref().map(|task| task as &dyn Benchmark)),*];
                BENCHMARKS.iter().zip(all).filter_map(|(row, task)| Some((row, task?))).collect()
            }

            /// Splits the tasks into one instance per task.
            pub fn split(self) -> Vec<Self> {
                vec![$(Self { $name: self.$name, ..Self::default() }),*]
            }
        }
    };
}

tasks! {
    mlqa: Mlqa, "MLQA", "f1", Some("001-1"), true;
    ner: Ner, "NER", "f1", Some("001-2"), true;
    xnli: Xnli, "XNLI", "accuracy", Some("001-3"), true;
    lama: Lama, "LAMA", "p@1", Some("001-5"), false;
    facts: Facts, "facts", "p@1", None, false;
}

impl Tasks {
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Returns the benchmark of an arm.
    pub fn single(&self) -> Result<(&'static Row, &dyn Benchmark)> {
        match self.all()[..] {
            [task] => Ok(task),
            ref all => bail!("expected one task per arm, got {}", all.len()),
        }
    }
}

/// Suffix of a facts metric: baseline that predicts any object of the relation.
pub const UNIFORM: &str = ", guessing";
/// Suffix of a facts metric: baseline that predicts the object with the most facts of `seen` in the
/// relation.
pub const FREQUENT: &str = ", most frequent";

/// Suffixes of the baseline metrics, and the titles of their rows.
pub const BASELINE_ROWS: [(&str, &str); 2] = [
    (UNIFORM, "Guess: any object of the relation"),
    (FREQUENT, "Guess: the relation's most frequent object"),
];

impl Row {
    /// Returns the maximum number of seeds.
    pub fn seeds(&self) -> usize {
        if self.trains { usize::MAX } else { 1 }
    }
}

/// Properties that all benchmarks have.
pub struct Common<'a> {
    /// The name of the data set in tables, if it has one.
    pub name: &'a str,
    /// Whether the recipe has data for the benchmark.
    pub has_data: bool,
    /// Batch size of the evaluation.
    pub batch_size: usize,
    /// Fine-tuning on English; `None` for a probe.
    pub training: Option<(&'a TrainConfig, Selection)>,
}

/// Data, protocol and scoring of a benchmark.
pub trait Benchmark {
    fn common(&self) -> Common<'_>;

    /// Validates options that are not in [`Common`] and do not depend on the model; errors name the
    /// key.
    fn validate(&self) -> Result<()>;

    /// Returns the head that the benchmark needs.
    fn head(&self) -> Head;

    /// Reads and encodes the training data of `model`; never called for a probe.
    fn training<'a>(&'a self, _: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        bail!("a probe has no training")
    }

    /// Completes the folder of a fine-tuned model.
    fn complete(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// Reads and encodes the examples of a split, for scoring `model`.
    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>>;
}

/// Validates options that do not depend on the model; errors name the key.
pub fn validate(task: &dyn Benchmark) -> Result<()> {
    let Common { batch_size, training, .. } = task.common();
    if let Some((training, _)) = training {
        training.validate().context("fine_tuning")?;
    }
    ensure!(batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
    task.validate()
}

/// Data split for scoring.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Selects the epoch.
    Development,
    Test,
}

/// Examples for scoring a model.
pub struct Scorer<'a> {
    pub languages: Vec<String>,
    pub score: Score<'a>,
}

/// Scores the current model, and writes predictions to the folder, if there is one.
pub type Score<'a> = Box<dyn Fn(Option<&Path>) -> Result<Tested> + 'a>;

/// Results of a test in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Tested {
    /// By metric and language; [`Row::metric`] is the metric to compare.
    pub metrics: BTreeMap<String, Scores>,
    /// LAMA only: the values of its table, by data set.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parts: BTreeMap<String, f64>,
    /// Written to `items.json`.
    #[serde(skip)]
    pub items: Items,
}

/// One value in percent for each test item, by language, for paired comparisons of models.
pub type Items = BTreeMap<String, Vec<f64>>;

impl Tested {
    /// Adds a value.
    pub fn add(&mut self, metric: &str, language: impl ToString, percent: f64) {
        self.metrics.entry(metric.to_owned()).or_default().insert(language.to_string(), percent);
    }

    /// Adds items that are correct or incorrect.
    pub fn add_items(&mut self, language: impl ToString, correct: impl IntoIterator<Item = bool>) {
        let percent = correct.into_iter().map(|correct| if correct { 100.0 } else { 0.0 });
        self.items.entry(language.to_string()).or_default().extend(percent);
    }
}

/// Rejects inputs that are longer than the model's positions.
pub fn check_length(key: &str, length: usize, model: &Pretrained) -> Result<()> {
    let positions = model.model.config().max_length();
    let valid = i64::try_from(length).is_ok_and(|length| length <= positions);
    ensure!(valid, "{key} = {length}: the model has {positions} positions");
    Ok(())
}
