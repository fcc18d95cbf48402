//! Predictions in the form of the official scorers: one JSON object, question id to answer.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::ser::PrettyFormatter;

use crate::files::{read_json, write_whole};
use crate::{EvalError, NBest};

/// Answers by question id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions(pub BTreeMap<String, String>);

impl Predictions {
    /// Reads `{"<id>": "<answer>", …}`.
    ///
    /// # Errors
    /// [`EvalError::Read`]; [`EvalError::Json`] with line and column where it is anything else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        read_json(path.as_ref(), "predictions: one object {\"<question id>\": \"<answer>\", …}")
            .map(Self)
    }

    /// Writes the same form, ids sorted, atomically.
    ///
    /// # Errors
    /// [`EvalError::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        write_json(path.as_ref(), &self.0)
    }

    /// The prediction for a question, if there is one.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

impl From<&[NBest]> for Predictions {
    /// The best answer of each question.
    fn from(all: &[NBest]) -> Self {
        Self(all.iter().map(|one| (one.id.clone(), one.answer().to_owned())).collect())
    }
}

/// Writes n-best lists as one JSON object, question id to list of answers, atomically.
///
/// # Errors
/// [`EvalError::Write`].
pub fn write_n_best(path: impl AsRef<Path>, all: &[NBest]) -> Result<(), EvalError> {
    let by_id: BTreeMap<&str, &NBest> = all.iter().map(|one| (one.id.as_str(), one)).collect();
    write_json(path.as_ref(), &by_id)
}

/// Pretty JSON and a newline, atomically.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), EvalError> {
    write_whole(path, &json_bytes(path, value)?)
}

/// Pretty JSON and a newline for the file `path`.
pub(crate) fn json_bytes(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, EvalError> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" "));
    value
        .serialize(&mut serializer)
        .map_err(|error| EvalError::Write { path: path.to_path_buf(), source: error.into() })?;
    bytes.push(b'\n');
    Ok(bytes)
}
