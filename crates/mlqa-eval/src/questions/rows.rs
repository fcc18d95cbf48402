//! Question files as lists of rows, each with a question, its context and its answers.
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, mem};

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::fields;
use super::record::{Record, is_record};
use crate::files::{json_error, parse_json, read_text};
use crate::{Error, squad};

pub(super) const EXPECTED: &str = "a SQuAD-style file, {\"data\": [{\"paragraphs\": [{\"context\": \"…\", \"qas\": […]}]}]}, or rows (a JSON array, \
    also as `data` of an object, one per line, or Parquet) as {\"id\": \"…\", \"title\": \"…\", \
    \"context\": \"…\", \"question\": \"…\", \"answers\": {\"text\": [\"…\"], \
    \"answer_start\": [0]}}";

/// A question file in one of the supported forms.
pub(crate) enum Form {
    Squad(squad::File),
    Rows { version: Option<String>, rows: Vec<Row> },
}

/// A question with its context and the title of its article.
pub(crate) struct Row {
    pub title: Arc<str>,
    pub context: Arc<str>,
    pub qa: squad::Qa,
}

impl Form {
    /// Reads a file of any supported form.
    ///
    /// # Errors
    /// [`Error::File`]; the errors of [`Form::parse`]; [`Error::Content`] for Parquet.
    pub(crate) fn read(path: &Path) -> Result<Self, Error> {
        match is_parquet(path) {
            true => Ok(Self::Rows { version: None, rows: read_parquet(path)?.all }),
            false => Self::parse(&read_text(path)?, path),
        }
    }

    /// Parses the text of a file; `path` is used in errors.
    ///
    /// # Errors
    /// [`Error::Json`]; [`Error::Content`] for rows of an unsupported form.
    pub(crate) fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let error = match parse_json(text, path, EXPECTED) {
            Ok(file) => return Ok(Self::Squad(file)),
            Err(error) => error,
        };
        let first_row = FirstRow::of(text);
        let is_record = is_record(&first_row.keys).map_err(|name| Error::Content {
            path: path.to_path_buf(),
            message: format!("records of {name} are not supported; expected {EXPECTED}"),
        })?;
        let (version, rows) = match first_row.kind {
            RowContainer::Array => (None, parse_json::<Rows>(text, path, EXPECTED)?),
            RowContainer::Data if is_record => {
                let file: RowsFile = parse_json(text, path, EXPECTED)?;
                (file.version, file.data)
            }
            RowContainer::Lines if is_record => {
                let mut rows = Rows::default();
                parse_records(text, path, EXPECTED, |record| rows.add(record))?;
                (None, rows)
            }
            RowContainer::Data | RowContainer::Lines => return Err(with_key(error, text)),
        };
        match rows.all.is_empty() {
            true => Err(error),
            false => Ok(Self::Rows { version, rows: rows.all }),
        }
    }

    /// Converts the file to SQuAD's form, in which adjacent rows with equal titles and contexts
    /// share a paragraph.
    pub(crate) fn into_squad(self) -> squad::File {
        let (version, mut rows) = match self {
            Self::Squad(file) => return file,
            Self::Rows { version, rows } => (version, rows),
        };
        let paragraph = |rows: &mut [Row]| squad::Paragraph {
            context: Arc::clone(&rows[0].context),
            qas: rows.iter_mut().map(|row| mem::take(&mut row.qa)).collect(),
            extra: squad::Extra::default(),
        };
        let article = |rows: &mut [Row]| squad::Article {
            title: Arc::clone(&rows[0].title),
            paragraphs: rows.chunk_by_mut(|a, b| a.context == b.context).map(paragraph).collect(),
            extra: squad::Extra::default(),
        };
        let data = rows.chunk_by_mut(|a, b| a.title == b.title).map(article).collect();
        squad::File { version, data, extra: squad::Extra::default() }
    }
}

/// Adds the key with the invalid value, and the id of its question, to an error about a text in
/// SQuAD's form.
fn with_key(error: Error, text: &str) -> Error {
    let Error::Json { path, expected, .. } = &error else { return error };
    let (path, expected) = (path.clone(), *expected);
    let mut json = serde_json::Deserializer::from_str(text);
    let Err(cause) = serde_path_to_error::deserialize::<_, squad::File>(&mut json) else {
        return error;
    };
    let key_path = cause.path().to_string();
    let cause = cause.into_inner();
    if !cause.is_data() {
        return error;
    }
    let (line, column) = (cause.line(), cause.column());
    let full_message = cause.to_string();
    let position = format!(" at line {line} column {column}");
    let mut message = full_message.strip_suffix(&position).unwrap_or(&full_message).to_owned();
    if message.starts_with("missing field `id`") && text.contains("\"generative_answer\"") {
        message += " (the questions of PoQuAD's files have no ids; predictions are stored by id, so add \
                    an `id` to every question)";
    }
    let message = match (question_at(&key_path, text), key_path.as_str()) {
        (_, ".") => message,
        (Some((id, "")), _) => format!("question {id}: {message}"),
        (Some((id, key)), _) => format!("question {id}: `{key}`: {message}"),
        (None, key) => format!("`{key}`: {message}"),
    };
    Error::Json { path, line, column, message, expected }
}

/// Returns the id of the question that contains a key, and the key's path in the question. A path
/// is `data[0].paragraphs[0].qas[0].answers[0].text`.
fn question_at<'p>(key_path: &'p str, text: &str) -> Option<(Value, &'p str)> {
    let (parents, rest) = key_path.split_once(".qas[")?;
    let (index, key) = rest.split_once(']')?;
    let pointer = format!("{parents}.qas.{index}.id").replace(['[', '.'], "/").replace(']', "");
    let file: Value = serde_json::from_str(text).ok()?;
    let id = file.pointer(&format!("/{pointer}"))?.clone();
    Some((id, key.strip_prefix('.').unwrap_or(key)))
}

/// The container of the rows in a file.
enum RowContainer {
    Array,
    /// The key `data` of an object.
    Data,
    Lines,
}

/// The first row of a text, which determines the text's form.
struct FirstRow {
    kind: RowContainer,
    /// The row's keys; empty if the row is not an object.
    keys: HashMap<String, IgnoredAny>,
}

impl FirstRow {
    fn of(text: &str) -> Self {
        let text = text.trim_start();
        // A quote inside a JSON string is escaped, so this pattern matches only a key or a complete
        // string.
        let data = || {
            let (_, after) = text.split_once("\"data\"")?;
            after.trim_start().strip_prefix(':')?.trim_start().strip_prefix('[')
        };
        let (kind, rows) = match text.strip_prefix('[') {
            Some(rows) => (RowContainer::Array, rows),
            None => data().map_or((RowContainer::Lines, text), |rows| (RowContainer::Data, rows)),
        };
        let mut values = serde_json::Deserializer::from_str(rows).into_iter();
        // A row that is not a JSON object has no keys; the reader of the rows reports it.
        let first: Option<HashMap<String, IgnoredAny>> = values.next().and_then(Result::ok);
        Self { kind, keys: first.into_iter().flatten().collect() }
    }
}

/// Parses a JSON array of rows or one row per line; `None` if the first row lacks `key`.
///
/// # Errors
/// [`Error::Json`].
pub(crate) fn parse_rows_with<T: DeserializeOwned>(
    key: &str,
    text: &str,
    path: &Path,
    expected: &'static str,
) -> Result<Option<Vec<T>>, Error> {
    match FirstRow::of(text) {
        FirstRow { keys, .. } if !keys.contains_key(key) => Ok(None),
        FirstRow { kind: RowContainer::Array, .. } => parse_json(text, path, expected).map(Some),
        FirstRow { kind: RowContainer::Data, .. } => Ok(None),
        FirstRow { kind: RowContainer::Lines, .. } => {
            let mut rows = Vec::new();
            parse_lines(text, path, expected, |row| rows.push(row))?;
            Ok(Some(rows))
        }
    }
}

/// Returns whether the first line of a text is only a part of a JSON value.
pub(super) fn has_records_of_several_lines(text: &str) -> bool {
    let first_line = text.lines().find(|line| !line.trim().is_empty());
    first_line.is_some_and(|line| !fields::is_json(line))
}

/// Parses one JSON value per line, or values over several lines if the first line is not a value.
fn parse_records<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    expected: &'static str,
    mut visit: impl FnMut(T),
) -> Result<(), Error> {
    if !has_records_of_several_lines(text) {
        return parse_lines(text, path, expected, visit);
    }
    let values = serde_json::Deserializer::from_str(text).into_iter();
    for value in values {
        visit(value.map_err(|error| json_error(&error, text, path, expected))?);
    }
    Ok(())
}

/// Parses each line that is not blank as a JSON value.
fn parse_lines<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    expected: &'static str,
    mut visit: impl FnMut(T),
) -> Result<(), Error> {
    let numbered_lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    for (index, line) in numbered_lines {
        visit(parse_json(line, path, expected).map_err(|error| match error {
            Error::Json { path, column, message, expected, .. } => {
                Error::Json { path, line: index + 1, column: column.max(1), message, expected }
            }
            other => other,
        })?);
    }
    Ok(())
}

/// The custom file of `run_qa`.
#[derive(Deserialize)]
struct RowsFile {
    #[serde(default, deserialize_with = "fields::version")]
    version: Option<String>,
    data: Rows,
}

/// Rows in which equal titles and contexts are stored once.
#[derive(Default)]
struct Rows {
    all: Vec<Row>,
    shared_texts: HashSet<Arc<str>>,
}

impl Rows {
    fn add(&mut self, record: Record) {
        let Record { title, context, qas } = record;
        let (title, context) = (self.share_text(title), self.share_text(context));
        let row = |qa| Row { title: Arc::clone(&title), context: Arc::clone(&context), qa };
        self.all.extend(qas.into_iter().map(row));
    }

    fn share_text(&mut self, text: String) -> Arc<str> {
        self.shared_texts.get(text.as_str()).cloned().unwrap_or_else(|| {
            let text: Arc<str> = text.into();
            self.shared_texts.insert(Arc::clone(&text));
            text
        })
    }
}

impl<'de> Deserialize<'de> for Rows {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct RowsVisitor;
        impl<'de> Visitor<'de> for RowsVisitor {
            type Value = Rows;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of rows")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Rows, A::Error> {
                let mut rows = Rows::default();
                let mut row_number = 1;
                while let Some(record) = list
                    .next_element()
                    .map_err(|error| A::Error::custom(format_args!("row {row_number}: {error}")))?
                {
                    rows.add(record);
                    row_number += 1;
                }
                Ok(rows)
            }
        }
        from.deserialize_seq(RowsVisitor)
    }
}

/// Returns whether `path` is a file with the extension `.parquet`.
pub(crate) fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) && path.is_file()
}

fn read_parquet(path: &Path) -> Result<Rows, Error> {
    let (mut rows, mut invalid) = (Rows::default(), None);
    let mut row_number = 0;
    let mut add = |record: Result<Record, String>| {
        row_number += 1;
        match record {
            Ok(record) => rows.add(record),
            Err(reason) => {
                let describe = || format!("row {row_number}, {reason}; expected {EXPECTED}");
                invalid.get_or_insert_with(describe);
            }
        }
    };
    read_parquet_records(path, &mut add)?;
    match invalid {
        None => Ok(rows),
        Some(message) => Err(Error::Content { path: path.to_path_buf(), message }),
    }
}

/// Reads the rows of a Parquet file. `visit` also receives the errors of rows.
///
/// # Errors
/// [`Error::Content`] if the file cannot be read.
#[cfg(feature = "parquet")]
pub(crate) fn read_parquet_records(
    path: &Path,
    mut visit: impl FnMut(Result<Record, String>),
) -> Result<(), Error> {
    atomic_file::report_opened(path);
    // The text of all rows is limited to the maximum size of a text file.
    let mut remaining_bytes = atomic_file::MAX_FILE_BYTES;
    let read = shards::Shards::open_with([path], |line| {
        remaining_bytes = u64::try_from(line.text.len())
            .ok()
            .and_then(|length| remaining_bytes.checked_sub(length))
            .ok_or("more than 4 GiB of rows, the maximum file size; split the file")?;
        let record = serde_json::from_slice(line.text).map_err(|error: serde_json::Error| {
            let message = atomic_file::json::reason(&error);
            let hint = match message.starts_with("missing field") {
                true => " (no column, or bytes that are not marked as text)",
                false => "",
            };
            format!("{message}{hint}{}", line.other_types())
        });
        visit(record);
        Ok(())
    });
    let message = match read {
        Ok(_) => return Ok(()),
        Err(shards::Error::File { reason, .. }) => reason,
        Err(other) => other.to_string(),
    };
    Err(Error::Content { path: path.to_path_buf(), message })
}

#[cfg(not(feature = "parquet"))]
pub(crate) fn read_parquet_records(
    path: &Path,
    _visit: impl FnMut(Result<Record, String>),
) -> Result<(), Error> {
    let message = "Parquet is not supported by this build; build with the feature `parquet`, or \
                   convert the rows to JSON lines";
    Err(Error::Content { path: path.to_path_buf(), message: message.into() })
}
