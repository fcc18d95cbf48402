//! What a benchmark is to the suite, and the table of all.
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
    /// Its key in `tasks`, and the prefix of its arms' names.
    pub name: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// The metric that is compared; with several sets of facts, the prefix of their metrics.
    pub metric: &'static str,
    /// XLM-K's table of it.
    pub printed: Option<&'static str>,
    /// Whether a model is fine-tuned for it. A probe gives the same with every seed, so that only
    /// the first counts.
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
            /// Present tasks, in the order of [`BENCHMARKS`].
            fn all(&self) -> Vec<(&'static Row, &dyn Benchmark)> {
                let all = [$(self.$name.as_ref().map(|task| task as &dyn Benchmark)),*];
                BENCHMARKS.iter().zip(all).filter_map(|(row, task)| Some((row, task?))).collect()
            }

            /// Each task separately.
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

    /// The benchmark of an arm.
    pub fn only(&self) -> Result<(&'static Row, &dyn Benchmark)> {
        match self.all()[..] {
            [one] => Ok(one),
            ref all => bail!("an arm has one task, this one has {}", all.len()),
        }
    }
}

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

/// What all benchmarks have.
pub struct Common<'a> {
    /// The name of the data set in tables, if it has one.
    pub name: &'a str,
    /// Whether the recipe has data for it.
    pub is_given: bool,
    /// Batch size of the evaluation.
    pub batch_size: usize,
    /// How a model is fine-tuned on English; a probe has none.
    pub training: Option<(&'a TrainConfig, Selection)>,
}

/// Data, a protocol, and how a model is judged by them.
pub trait Benchmark {
    fn common(&self) -> Common<'_>;

    /// Checks what needs no model and is not in [`Common`]; names the key.
    fn validate(&self) -> Result<()>;

    /// The head that it needs.
    fn head(&self) -> Head;

    /// Reads and encodes the training data of `model`; never called for a probe.
    fn training<'a>(&'a self, _: &'a Pretrained) -> Result<Box<dyn Task + 'a>> {
        bail!("a probe trains nothing")
    }

    /// Completes the folder of a model that was fine-tuned.
    fn complete(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    /// Reads and encodes the examples of a split, to score `model` on them.
    fn scorer<'a>(&'a self, split: Split, model: &'a Pretrained) -> Result<Scorer<'a>>;
}

/// Checks what needs no model; names the key.
pub fn validate(task: &dyn Benchmark) -> Result<()> {
    let Common { batch_size, training, .. } = task.common();
    if let Some((training, _)) = training {
        training.validate().context("fine_tuning")?;
    }
    ensure!(batch_size > 0, "evaluation_batch_size = 0: must be 1 or more");
    task.validate()
}

/// What a model is scored on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// What chooses the epoch.
    Development,
    Test,
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
