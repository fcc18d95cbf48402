//! Predictions in the official format, one JSON object from question id to answer, and null odds.
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::files::{parse_json, read_entries, read_json, read_text, write_json};
use crate::questions::fields::Id;
use crate::questions::rows::parse_rows_with;
use crate::{Error, NBest};

const EXPECTED: &str = "predictions: one object {\"<question id>\": \"<answer>\", …}, or rows (a JSON \
    array, or one per line) as {\"id\": \"…\", \"prediction_text\": \"…\"}";

/// Answers by question id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions(pub BTreeMap<String, String>);

/// A prediction in the format of the library `evaluate`.
#[derive(Deserialize)]
struct Row {
    id: Id,
    prediction_text: String,
    no_answer_probability: Option<f64>,
}

impl Predictions {
    /// Reads `{"<id>": "<answer>", …}`, or rows (a JSON array or one per line) `{"id": "<id>",
    /// "prediction_text": "<answer>"}`. If a question has several predictions, the last one is
    /// used.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Json`] with line and column for any other content.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        Ok(Self::read_with_odds(path)?.0)
    }

    /// Reads predictions, and the `no_answer_probability` of rows as odds for
    /// [`score_squad2`](crate::score_squad2).
    ///
    /// # Errors
    /// The errors of [`Predictions::read`].
    pub fn read_with_odds(path: impl AsRef<Path>) -> Result<(Self, Option<NullOdds>), Error> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?, path)
    }

    /// Parses a file's text like [`Predictions::read_with_odds`]; `path` is used in errors.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<(Self, Option<NullOdds>), Error> {
        let rows: Option<Vec<Row>> = parse_rows_with("prediction_text", text, path, EXPECTED)?;
        let Some(rows) = rows else {
            return Ok((Self(parse_json(text, path, EXPECTED)?), None));
        };
        let (mut answers, mut odds) = (BTreeMap::new(), Vec::new());
        for Row { id, prediction_text, no_answer_probability } in rows {
            let Id(id) = id;
            odds.extend(no_answer_probability.map(|probability| (id.clone(), probability)));
            answers.insert(id, prediction_text);
        }
        Ok((Self(answers), Some(NullOdds(odds)).filter(|odds| !odds.0.is_empty())))
    }

    /// Writes `{"<id>": "<answer>", …}` with sorted ids, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        write_json(path.as_ref(), &self.0)
    }

    /// Returns the prediction for a question; `None` if there is no prediction.
    pub fn get(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(String::as_str)
    }
}

impl From<&[NBest]> for Predictions {
    /// The best answer of each question.
    fn from(lists: &[NBest]) -> Self {
        Self(lists.iter().map(|list| (list.id.clone(), list.answer().to_owned())).collect())
    }
}

/// Null odds by question id, in the order of the file: larger means "no answer" is more likely.
///
/// Values are odds as in [`NBest::null_odds`] and Hugging Face's `null_odds.json`, or
/// probabilities.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct NullOdds(#[serde(deserialize_with = "read_entries")] pub Vec<(String, f64)>);

impl NullOdds {
    /// Reads `{"<id>": 0.25, …}`.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Json`] with line and column for any other content.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        read_json(path.as_ref(), "null odds: one object {\"<question id>\": 0.25, …}")
    }

    /// Collects the null odds of n-best lists. Lists of questions without windows have no odds and
    /// are skipped.
    pub fn of(lists: &[NBest]) -> Self {
        let odds = |list: &NBest| Some((list.id.clone(), list.null_odds()?));
        Self(lists.iter().filter_map(odds).collect())
    }

    /// Writes `{"<id>": 0.25, …}` with sorted ids, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let by_id: BTreeMap<&str, f64> =
            self.0.iter().map(|(id, odds)| (id.as_str(), *odds)).collect();
        write_json(path.as_ref(), &by_id)
    }
}
