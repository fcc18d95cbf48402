//! Question files as lists of rows, each with a question, its context and its answers.
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::{fmt, mem};

use serde::de::{DeserializeOwned, Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::files::{parse_json, read_offset, read_text};
use crate::{Error, squad};

const EXPECTED: &str = "a SQuAD-style file, {\"data\": [{\"paragraphs\": [{\"context\": \"…\", \"qas\": […]}]}]}, or rows (a JSON array, \
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
    /// [`Error::Read`]; the errors of [`Form::parse`]; [`Error::Content`] for Parquet.
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
        let has = |key| first_row.keys.contains_key(key);
        if has("question_text") {
            let message =
                format!("rows of TyDi's primary task are not supported; expected {EXPECTED}");
            return Err(Error::Content { path: path.to_path_buf(), message });
        }
        let has_question = ["context", "question"].into_iter().any(has);
        let (version, rows) = match first_row.kind {
            RowContainer::Array => (None, parse_json::<Rows>(text, path, EXPECTED)?),
            RowContainer::Data if has_question => {
                let file: RowsFile = parse_json(text, path, EXPECTED)?;
                (file.version.and_then(|version| Some(version.as_str()?.to_owned())), file.data)
            }
            RowContainer::Lines if has_question => {
                let mut rows = Rows::default();
                parse_lines(text, path, EXPECTED, |row| rows.add(row))?;
                (None, rows)
            }
            RowContainer::Data | RowContainer::Lines => return Err(with_question_id(error, text)),
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
        let first_text = |rows: &[Row], text: fn(&Row) -> &Arc<str>| {
            rows.first().map(|row| Arc::clone(text(row))).unwrap_or_default()
        };
        let paragraph = |rows: &mut [Row]| squad::Paragraph {
            context: first_text(rows, |row| &row.context),
            qas: rows.iter_mut().map(|row| mem::take(&mut row.qa)).collect(),
            extra: squad::Extra::default(),
        };
        let article = |rows: &mut [Row]| squad::Article {
            title: first_text(rows, |row| &row.title),
            paragraphs: rows.chunk_by_mut(|a, b| a.context == b.context).map(paragraph).collect(),
            extra: squad::Extra::default(),
        };
        let data = rows.chunk_by_mut(|a, b| a.title == b.title).map(article).collect();
        squad::File { version, data, extra: squad::Extra::default() }
    }
}

/// Adds the id of the invalid question to an error about a text in SQuAD's form, if the error
/// concerns a question.
fn with_question_id(error: Error, text: &str) -> Error {
    fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
        value.get(key).and_then(Value::as_array).into_iter().flatten()
    }
    let Ok(file) = serde_json::from_str::<Value>(text) else { return error };
    let articles = list(&file, "data");
    let paragraphs = articles.flat_map(|article| list(article, "paragraphs"));
    let questions = paragraphs.flat_map(|paragraph| list(paragraph, "qas"));
    let causes =
        questions.filter_map(|qa| Some((qa.get("id")?, squad::Qa::deserialize(qa).err()?)));
    match (error, causes.into_iter().next()) {
        (Error::Json { path, line, column, expected, .. }, Some((id, cause))) => {
            let message = format!("question {id}: {cause}");
            Error::Json { path, line, column, message, expected }
        }
        (error, _) => error,
    }
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
        let first = serde_json::Deserializer::from_str(rows).into_iter().next();
        Self { kind, keys: first.and_then(Result::ok).unwrap_or_default() }
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
    version: Option<Value>,
    data: Rows,
}

/// Rows in which equal titles and contexts are stored once.
#[derive(Default)]
struct Rows {
    all: Vec<Row>,
    shared_texts: HashSet<Arc<str>>,
}

impl Rows {
    fn add(&mut self, fields: Fields) {
        let Fields { id, title, context, question, answers, extra } = fields;
        let (title, context) = (self.share_text(title), self.share_text(context));
        self.all.push(Row { title, context, qa: squad::Qa { id, question, answers, extra } });
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
                let row_number = |rows: &Rows| rows.all.len() + 1;
                while let Some(row) = list.next_element().map_err(|error| {
                    A::Error::custom(format_args!("row {}: {error}", row_number(&rows)))
                })? {
                    rows.add(row);
                }
                Ok(rows)
            }
        }
        from.deserialize_seq(RowsVisitor)
    }
}

/// The keys of a row.
#[derive(Deserialize)]
#[serde(try_from = "squad::Extra")]
struct Fields {
    id: String,
    title: String,
    context: String,
    question: String,
    answers: Vec<squad::Answer>,
    extra: squad::Extra,
}

impl TryFrom<squad::Extra> for Fields {
    type Error = String;

    fn try_from(mut all: squad::Extra) -> Result<Self, String> {
        let missing = |key| move || format!("missing field `{key}`");
        all.drop_nulls();
        let title = all.take("title")?.unwrap_or_default();
        let question = all.take("question")?.ok_or_else(missing("question"))?;
        let id = all.take::<Id>("id")?.ok_or_else(missing("id"))?.into();
        let context = all.take("context")?.ok_or_else(missing("context"))?;
        let answers = match all.get("answers") {
            Some(Value::Array(_)) => all.take("answers")?.unwrap_or_default(),
            _ => all
                .take::<AnswerLists>("answers")?
                .ok_or_else(missing("answers"))?
                .into_answers()?,
        };
        // Empty lists mean that the question has no answer. In SQuAD 2.0, such a question has the
        // key `is_impossible`.
        if answers.is_empty() && all.get("is_impossible").is_none() {
            all.push("is_impossible", true.into());
        }
        Ok(Self { id, title, context, question, answers, extra: all })
    }
}

/// An id; integers are converted to text.
#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a text or a whole number")]
pub(crate) enum Id {
    Text(String),
    Positive(u64),
    Negative(i64),
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        match id {
            Id::Text(text) => text,
            Id::Positive(number) => number.to_string(),
            Id::Negative(number) => number.to_string(),
        }
    }
}

/// The answers of a row in the format of SQuAD on the Hugging Face Hub.
#[derive(Deserialize)]
#[serde(expecting = "lists `text` and `answer_start`, or a list of objects with both")]
struct AnswerLists {
    text: Vec<String>,
    answer_start: Vec<Offset>,
}

#[derive(Deserialize)]
struct Offset(#[serde(deserialize_with = "read_offset")] usize);

impl AnswerLists {
    fn into_answers(self) -> Result<Vec<squad::Answer>, String> {
        let (text_count, start_count) = (self.text.len(), self.answer_start.len());
        if text_count != start_count {
            return Err(format!(
                "`answers`: `text` has {text_count} values, `answer_start` has {start_count}"
            ));
        }
        let answer = |(text, Offset(answer_start))| squad::Answer {
            text,
            answer_start,
            extra: squad::Extra::default(),
        };
        Ok(self.text.into_iter().zip(self.answer_start).map(answer).collect())
    }
}

/// Returns whether `path` is a file with the extension `.parquet`.
pub(crate) fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("parquet")) && path.is_file()
}

#[cfg(feature = "parquet")]
fn read_parquet(path: &Path) -> Result<Rows, Error> {
    atomic_file::remember_input(path);
    let mut rows = Rows::default();
    // The text of all rows is limited to the maximum size of a text file.
    let mut remaining_bytes = atomic_file::MAX_FILE_BYTES;
    let read = shards::Shards::open_with([path], |line| {
        remaining_bytes = u64::try_from(line.text.len())
            .ok()
            .and_then(|length| remaining_bytes.checked_sub(length))
            .ok_or("more than 4 GiB of rows, the maximum file size; split the file")?;
        let text = str::from_utf8(line.text).map_err(|error| error.to_string())?;
        rows.add(parse_json(text, path, EXPECTED).map_err(|error| match error {
            Error::Json { message, expected, .. } => {
                let hint = match message.starts_with("missing field") {
                    true => " (no column, or bytes that are not marked as text)",
                    false => "",
                };
                format!("{message}{hint}; expected {expected}")
            }
            other => other.to_string(),
        })?);
        Ok(())
    });
    let message = match read {
        Ok(_) => return Ok(rows),
        Err(shards::Error::File { reason, .. }) => reason,
        Err(other) => other.to_string(),
    };
    Err(Error::Content { path: path.to_path_buf(), message })
}

#[cfg(not(feature = "parquet"))]
fn read_parquet(path: &Path) -> Result<Rows, Error> {
    let message = "Parquet is not supported by this build; build with the feature `parquet`, or \
                   convert the rows to JSON lines";
    Err(Error::Content { path: path.to_path_buf(), message: message.into() })
}
