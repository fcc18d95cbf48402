//! Diagnostics of non-finite losses and gradients.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::{Error, Result};

/// Name of the file in the stage's folder.
pub(crate) const FILE: &str = "not-finite.json";

/// Maximum number of parameters and of examples in a message.
const MAX_NAMES: usize = 4;

/// An example's entry in `not-finite.json`; see [`Task::example`](crate::Task::example).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ExampleRecord {
    /// Name of the example in the data, such as a question's id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Token ids before masking or other changes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub input_ids: Vec<u32>,
}

/// A batch's entry in `not-finite.json`.
#[derive(Serialize)]
pub(crate) struct BatchRecord {
    /// Label of the task in errors.
    pub(crate) task: String,
    /// Index of the batch in this task, from 0.
    pub(crate) number: u64,
    /// Epoch of the batch, for streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u64>,
    pub(crate) examples: Vec<IndexedExample>,
}

/// An example with its index in the task's examples or, for streams, in the batch.
#[derive(Serialize)]
pub(crate) struct IndexedExample {
    pub(crate) index: usize,
    #[serde(flatten)]
    pub(crate) example: ExampleRecord,
}

/// Contents of `not-finite.json`: the step, the non-finite value and the batches.
#[derive(Serialize)]
pub(crate) struct NotFiniteReport {
    pub(crate) stage: String,
    /// The step, counted from 0.
    pub(crate) step: u64,
    pub(crate) what: String,
    /// The non-finite value as text, because JSON has no infinite numbers.
    pub(crate) value: String,
    /// The losses of the step, as text.
    pub(crate) losses: BTreeMap<String, String>,
    /// The parameters whose gradients are not finite.
    pub(crate) parameters: Vec<String>,
    pub(crate) batches: Vec<BatchRecord>,
}

impl NotFiniteReport {
    /// Writes the file and returns the error that names it.
    pub(crate) fn into_error(self, folder: &Path, value: f64) -> Error {
        let file = folder.join(FILE);
        let batch = match self.write(&file) {
            Ok(()) => format!("the batch is in {}", file.display()),
            Err(error) => format!("the batch could not be written: {error}"),
        };
        let what = match self.parameters.as_slice() {
            [] => self.what.clone(),
            names => {
                format!("{} (of {})", self.what, first_names(names.iter().map(String::as_str)))
            }
        };
        let examples: Vec<String> =
            self.batches.iter().flat_map(|batch| &batch.examples).map(example_name).collect();
        let examples = first_names(examples.iter().map(String::as_str));
        let (stage, step) = (self.stage, self.step);
        Error::NotFinite { stage, step, what, value, examples, batch }
    }

    fn write(&self, file: &Path) -> Result<()> {
        let json = atomic_file::json::to_string_pretty(file, self)?;
        Ok(atomic_file::write(file, json)?)
    }
}

fn example_name(example: &IndexedExample) -> String {
    example.example.id.clone().unwrap_or_else(|| example.index.to_string())
}

/// Returns the first names as text, followed by the number of further names.
fn first_names<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let n_more = names.len().saturating_sub(MAX_NAMES);
    let mut text = names.take(MAX_NAMES).collect::<Vec<_>>().join(", ");
    if n_more > 0 {
        text.push_str(&format!(" and {n_more} more"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_truncated() {
        assert_eq!(first_names(["a", "b"].into_iter()), "a, b");
        assert_eq!(
            first_names(["a", "b", "c", "d", "e", "f"].into_iter()),
            "a, b, c, d and 2 more"
        );
    }
}
