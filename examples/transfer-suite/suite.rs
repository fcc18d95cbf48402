//! All benchmarks of the suite, and their rows in tables.
use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use crate::benchmark::Benchmark;
use crate::lama::{Facts, Lama};
use crate::mlqa::Mlqa;
use crate::ner::Ner;
use crate::oie::Oie;
use crate::relations::Relations;
use crate::xnli::Xnli;

/// Names and metric of a benchmark, and whether it fine-tunes models.
pub struct Row {
    /// Key in `tasks`, and prefix of the arms' names.
    pub name: &'static str,
    /// The name in tables.
    pub title: &'static str,
    /// Name of the metric to compare. If a benchmark has several sets of facts, each set has its
    /// own metric, and this is the common prefix of the names.
    pub metric: &'static str,
    /// The corresponding table of XLM-K.
    pub printed_table: Option<&'static str>,
    /// Whether a model is fine-tuned. A probe has the same result with every seed, so only the
    /// first seed is used.
    pub fine_tunes: bool,
}

/// Defines `BENCHMARKS` and `Tasks` from lines with key, type, title, metric, printed table and
/// whether a model is fine-tuned.
macro_rules! tasks {
    ($($name:ident: $task:ty, $title:literal, $metric:literal, $printed:expr, $fine_tunes:literal;)*) => {
        /// All benchmarks, in the order of the tables.
        pub const BENCHMARKS: &[Row] = &[$(Row {
            name: stringify!($name),
            title: $title,
            metric: $metric,
            printed_table: $printed,
            fine_tunes: $fine_tunes,
        }),*];

        /// The tasks; absent tasks are not run.
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

            /// Splits the tasks into instances of `Tasks` with one task each.
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
    relations: Relations, "relations", "f1", None, true;
    oie: Oie, "open extraction", "f1", None, true;
    lama: Lama, "LAMA", "p@1", Some("001-5"), false;
    facts: Facts, "facts", "p@1", None, false;
}

impl Tasks {
    pub fn is_empty(&self) -> bool {
        self.all().is_empty()
    }

    /// Returns the only benchmark of an arm.
    pub fn single(&self) -> Result<(&'static Row, &dyn Benchmark)> {
        match self.all()[..] {
            [task] => Ok(task),
            ref all => bail!("expected one task per arm, got {}", all.len()),
        }
    }
}

impl Row {
    /// Returns the maximum number of seeds.
    pub fn max_seeds(&self) -> usize {
        if self.fine_tunes { usize::MAX } else { 1 }
    }
}
