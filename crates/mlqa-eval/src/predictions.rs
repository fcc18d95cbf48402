//! Predictions in the form of the official scorers: one JSON object, question id to answer.
use std::collections::BTreeMap;
use std::path::Path;

use crate::files::{parse_json, read_text, write_json};
use crate::rows::first_row;
use crate::{Error, NBest};

const EXPECTED: &str = "predictions: one object {\"<question id>\": \"<answer>\", …}";

/// Answers by question id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions(pub BTreeMap<String, String>);

impl Predictions {
    /// Reads `{"<id>": "<answer>", …}`.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Json`] with line and column where it is anything else;
    /// [`Error::Content`] where it is rows with a `prediction_text`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?, path)
    }

    /// The same of a file's text; `path` is for messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let rows = || first_row(text).filter(|(row, _)| row.contains_key("prediction_text"));
        parse_json(text, path, EXPECTED).map(Self).map_err(|error| match rows() {
            None => error,
            Some((_, form)) => {
                let message = format!("holds predictions as rows, {form}; expected {EXPECTED}");
                Error::Content { path: path.to_path_buf(), message }
            }
        })
    }

    /// Writes the same form, ids sorted, atomically.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
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
