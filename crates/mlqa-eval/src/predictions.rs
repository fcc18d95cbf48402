//! Predictions in the form of the official scorers: one JSON object, question id to answer.
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;
use serde_json::ser::PrettyFormatter;
use whole_file::WholeFile;

use crate::files::{parse_json, read_text, write_whole};
use crate::rows::first_row;
use crate::{EvalError, NBest};

const EXPECTED: &str = "predictions: one object {\"<question id>\": \"<answer>\", …}";

/// Answers by question id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Predictions(pub BTreeMap<String, String>);

impl Predictions {
    /// Reads `{"<id>": "<answer>", …}`.
    ///
    /// # Errors
    /// [`EvalError::Read`]; [`EvalError::Json`] with line and column where it is anything else;
    /// [`EvalError::Content`] where it is rows with a `prediction_text`.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, EvalError> {
        let path = path.as_ref();
        Self::parse(&read_text(path)?, path)
    }

    /// The same of a file's text; `path` is for messages.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, EvalError> {
        let rows = || first_row(text).filter(|(row, _)| row.contains_key("prediction_text"));
        parse_json(text, path, EXPECTED).map(Self).map_err(|error| match rows() {
            None => error,
            Some((_, form)) => {
                let message = format!("holds predictions as rows, {form}; expected {EXPECTED}");
                EvalError::Content { path: path.to_path_buf(), message }
            }
        })
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
    let path = path.as_ref();
    let by_id: BTreeMap<&str, &NBest> = all.iter().map(|one| (one.id.as_str(), one)).collect();
    let by_id: Vec<(&str, &NBest)> = by_id.into_iter().collect();
    let failed = |source| EvalError::Write { path: path.to_path_buf(), source };
    path.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
    let mut file = WholeFile::create(path).map_err(failed)?;
    let mut separator = "{";
    // Lists are long: threads make parts of the object, some at a time, which are written as they
    // are.
    for block in by_id.chunks(1024) {
        let parts = block.par_chunks(64).map(|part| entries(path, part));
        for part in parts.collect::<Result<Vec<_>, _>>()? {
            let written = writeln!(file, "{separator}").and_then(|()| file.write_all(&part));
            written.map_err(failed)?;
            separator = ",";
        }
    }
    let end = if by_id.is_empty() { "{}\n" } else { "\n}\n" };
    file.write_all(end.as_bytes()).and_then(|()| file.finish()).map_err(failed)
}

/// The entries of an object, as they stand in it between its braces.
fn entries(path: &Path, part: &[(&str, &NBest)]) -> Result<Vec<u8>, EvalError> {
    let object: BTreeMap<&str, &NBest> = part.iter().copied().collect();
    let bytes = json_bytes(path, &object)?;
    let within = bytes.strip_prefix(b"{\n").and_then(|rest| rest.strip_suffix(b"\n}\n"));
    Ok(within.unwrap_or_default().to_vec())
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

#[cfg(test)]
#[allow(clippy::unwrap_used)] // helpers of tests
mod tests {
    use super::*;

    #[test]
    fn an_object_written_in_parts_is_the_object() {
        let folder = tempfile::tempdir().unwrap();
        for count in [0, 1, 63, 64, 65, 200, 1025] {
            let one = |k: usize| {
                let (id, candidates) = (format!("id \"{k}\""), Vec::new());
                NBest {
                    id,
                    candidates,
                    null_score: Some(k as f32 / 3.0),
                    null: k.is_multiple_of(2),
                }
            };
            let all: Vec<NBest> = (0..count).map(one).collect();
            let path = folder.path().join("n_best.json");
            write_n_best(&path, &all).unwrap();
            let by_id: BTreeMap<&str, &NBest> =
                all.iter().map(|one| (one.id.as_str(), one)).collect();
            assert!(std::fs::read(&path).unwrap() == json_bytes(&path, &by_id).unwrap(), "{count}");
        }
    }
}
