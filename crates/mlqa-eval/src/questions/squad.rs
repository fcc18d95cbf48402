//! Schema of SQuAD-style JSON files.
//!
//! MLQA, XQuAD, SQuAD v1.1 and v2.0 and data with further fields (`is_impossible`, `subtype`,
//! `head_start`) share this format. Keys outside this schema are stored in [`Extra`], in file
//! order, so that reading and writing a file preserves them. [`Dataset`](crate::Dataset) is the
//! flat view used by training and scoring.
//!
//! ```
//! use mlqa_eval::squad::File;
//!
//! let text = r#"{"data": [{"title": "T", "paragraphs": [{"context": "A house", "qas": [
//!     {"id": "q1", "question": "What?", "answers": [], "is_impossible": true}]}]}]}"#;
//! let file = File::parse(text, "dev-v2.0.json")?;
//! let question = file.questions().next().unwrap();
//! assert_eq!(question.extra.get("is_impossible"), Some(&true.into()));
//! assert!(serde_json::to_string(&file).unwrap().contains("\"is_impossible\":true"));
//! # Ok::<(), mlqa_eval::Error>(())
//! ```
use std::path::Path;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::fields::{self, IsImpossible};
use super::rows::Form;
use crate::Error;
use crate::files::{read_entries, write_atomic};

/// A SQuAD-style file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct File {
    /// "1.0" in MLQA, "1.1" in SQuAD v1.1 and XQuAD; absent in some data. Numbers are read as text.
    #[serde(
        default,
        deserialize_with = "fields::version",
        skip_serializing_if = "Option::is_none"
    )]
    pub version: Option<String>,
    /// The articles.
    pub data: Vec<Article>,
    /// Additional keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An article: paragraphs under a title.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Article {
    /// The title; empty if the file has none.
    #[serde(default, deserialize_with = "fields::title")]
    pub title: Arc<str>,
    /// The paragraphs.
    pub paragraphs: Vec<Paragraph>,
    /// Additional keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A paragraph: questions about one context.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Paragraph {
    /// The text that contains the answers.
    pub context: Arc<str>,
    /// The questions.
    pub qas: Vec<Qa>,
    /// Additional keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A question with its gold answers.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Qa {
    /// The id. Integers are read as text.
    #[serde(deserialize_with = "fields::id")]
    pub id: String,
    /// The question's text.
    pub question: String,
    /// Gold answers; an empty list if the question has no answer, `None` if the file does not have
    /// the key, or has null.
    #[serde(
        default,
        deserialize_with = "fields::answers",
        skip_serializing_if = "Option::is_none"
    )]
    pub answers: Option<Vec<Answer>>,
    /// Additional keys.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A gold answer.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Answer {
    /// The answer, a part of the context.
    pub text: String,
    /// Start of the answer in the context, in Unicode code points from 0; `None` (-1 in the file) if
    /// the answer was not located. Files may also store the offset as a float or as text (`8.0`,
    /// `"8"`).
    #[serde(deserialize_with = "fields::offset", serialize_with = "fields::write_offset")]
    pub answer_start: Option<usize>,
    /// Additional keys.
    #[serde(flatten)]
    pub extra: Extra,
}

impl File {
    /// Reads a file, or rows in any form that [`Dataset::read`](crate::Dataset::read) supports.
    ///
    /// Adjacent rows with equal titles and contexts share a paragraph. Additional keys of a row
    /// belong to its question. If a row has no answer, its question has the key `is_impossible`.
    ///
    /// # Errors
    /// The errors of [`Dataset::read`](crate::Dataset::read), except for duplicate ids.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Form::read(path)?.into_squad())
    }

    /// Parses the text of a file (not Parquet). `path` is used in messages.
    ///
    /// # Errors
    /// The errors of [`File::read`] without [`Error::File`].
    pub fn parse(text: &str, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        Ok(Form::parse(text, path)?.into_squad())
    }

    /// Writes compact JSON, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        write_atomic(path, self.to_json(path)?)
    }

    /// Returns the bytes written by [`File::write`]. `path` is used in messages.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn to_json(&self, path: &Path) -> Result<Vec<u8>, Error> {
        Ok(atomic_file::json::to_string(path, self)?.into_bytes())
    }

    /// Iterates over all questions, in file order.
    pub fn questions(&self) -> impl Iterator<Item = &Qa> {
        let paragraphs = self.data.iter().flat_map(|article| &article.paragraphs);
        paragraphs.flat_map(|paragraph| &paragraph.qas)
    }
}

impl Qa {
    /// Returns the value of an additional key, such as `subtype`; `None` if it is absent or null.
    ///
    /// # Errors
    /// [`Error::Content`] naming the file, the question and the key if the value is of another
    /// type.
    ///
    /// ```
    /// use mlqa_eval::squad::File;
    ///
    /// let text = r#"{"data": [{"paragraphs": [{"context": "", "qas": [
    ///     {"id": "q1", "question": "", "head_start": 3}]}]}]}"#;
    /// let file = File::parse(text, "train.json")?;
    /// let question = file.questions().next().unwrap();
    /// assert_eq!(question.parse_field::<usize>("head_start", "train.json")?, Some(3));
    /// assert!(question.parse_field::<String>("head_start", "train.json").is_err());
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    pub fn parse_field<T: DeserializeOwned>(
        &self,
        key: &str,
        path: impl AsRef<Path>,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.extra.get(key) else { return Ok(None) };
        Option::deserialize(value).map_err(|error| Error::Content {
            path: path.as_ref().to_path_buf(),
            message: format!("question `{}`: `{key}` is {value}: {error}", self.id),
        })
    }

    /// Returns the value of the key `is_impossible`, which may also be 0 or 1; `None` if it is
    /// absent or null.
    ///
    /// # Errors
    /// The errors of [`Qa::parse_field`].
    pub fn is_impossible(&self, path: impl AsRef<Path>) -> Result<Option<bool>, Error> {
        Ok(self.parse_field("is_impossible", path)?.map(|IsImpossible(value)| value))
    }
}

/// Keys outside the schema, with their values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct Extra(
    #[serde(deserialize_with = "read_entries", serialize_with = "as_object")] Vec<(String, Value)>,
);

impl Extra {
    /// Returns the value of a key. If the key occurs several times, the last value is returned.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    /// Iterates over all keys with their values, in the order of the file.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// Removes a key and returns its value; `None` if it is absent or null.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Result<Option<T>, String> {
        let mut last_value = None;
        self.0.retain_mut(|(name, value)| {
            let keep = name != key;
            if !keep {
                last_value = Some(value.take());
            }
            keep
        });
        let value = last_value.unwrap_or(Value::Null);
        Option::deserialize(value).map_err(|error| format!("`{key}`: {error}"))
    }

    pub(crate) fn drop_nulls(&mut self) {
        self.0.retain(|(_, value)| !value.is_null());
    }

    pub(crate) fn push(&mut self, key: &str, value: Value) {
        self.0.push((key.to_owned(), value));
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Extra {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

fn as_object<S: Serializer>(entries: &[(String, Value)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(entries.iter().map(|(key, value)| (key, value)))
}
