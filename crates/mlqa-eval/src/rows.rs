//! Question files that are lists of rows: MTQA's are read, others are named in the error.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Deserializer, Map, Value};

use crate::files::parse_json;
use crate::{Answer, Dataset, Error, Question, TypedDataset};

const EXPECTED: &str = "a SQuAD-style file, {\"data\": [{\"paragraphs\": [{\"context\": \"…\", \"qas\": […]}]}]}, or rows (a JSON array, or one a line) as \
    {\"question\": \"…\", \"passage\": \"…\", \"answer\": {\"start\": 0, \"end\": 1, \"text\": \"…\"}, \
    \"subtype\": \"…\"}";

/// The rows of a text that is no SQuAD-style file: a JSON array or one row a line; `None` where it
/// seems to have none.
///
/// # Errors
/// What is wrong with a row, or what rows of another form are.
pub(crate) fn rows(text: &str, path: &Path) -> Result<Option<Vec<Row>>, Error> {
    if let Some(message) = other_rows(text) {
        return Err(Error::Content { path: path.to_path_buf(), message });
    }
    match text.contains("\"passage\"") {
        _ if text.trim_start().starts_with('[') => parse_json(text, path, EXPECTED).map(Some),
        true => lines(text, path).map(Some),
        false => Ok(None),
    }
}

fn lines(text: &str, path: &Path) -> Result<Vec<Row>, Error> {
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(index, line)| {
            parse_json(line, path, EXPECTED).map_err(|error| match error {
                Error::Json { path, column, message, expected, .. } => {
                    Error::Json { path, line: index + 1, column, message, expected }
                }
                other => other,
            })
        })
        .collect()
}

/// What rows are that are not read, and what is.
fn other_rows(text: &str) -> Option<String> {
    let (row, form) = first_row(text)?;
    let has = |key| row.contains_key(key);
    let what = match (has("passage"), has("context") && has("question")) {
        _ if has("paragraphs") => return None,
        (true, _) if form == IN_DATA => "MTQA's rows",
        (true, _) => return None,
        (false, true) => "rows with a question and its context each, as data hubs have SQuAD",
        (false, false) if has("question_text") => "rows of TyDi's primary task",
        (false, false) => return None,
    };
    Some(format!("holds {what}, {form}, and they are not read like this; expected {EXPECTED}"))
}

const IN_DATA: &str = "in a list `data`";

/// The first row of a list of objects, and how the list is written.
pub(crate) fn first_row(text: &str) -> Option<(Map<String, Value>, &'static str)> {
    let text = text.trim_start();
    let (list, form) = match text.strip_prefix('[') {
        Some(list) => (list, "in a JSON array"),
        None => (text, "one a line"),
    };
    let object = |value| if let Value::Object(object) = value { Some(object) } else { None };
    let mut row = object(Deserializer::from_str(list).into_iter().next()?.ok()?)?;
    match row.remove("data") {
        Some(Value::Array(rows)) => Some((object(rows.into_iter().next()?)?, IN_DATA)),
        Some(_) => None,
        None => Some((row, form)),
    }
}

/// The questions of rows and their types, of which there may be none.
pub(crate) fn from_rows(rows: Vec<Row>, path: &Path) -> Result<TypedDataset, Error> {
    let mut types = BTreeMap::new();
    let mut questions = Vec::with_capacity(rows.len());
    let mut passages: HashMap<String, Arc<str>> = HashMap::new();
    for (index, row) in rows.into_iter().enumerate() {
        let id = row.id.unwrap_or_else(|| format!("row-{}", index + 1));
        let RowAnswer { start, end, text } = row.answer;
        let length = text.chars().count();
        let context =
            passages.entry(row.passage).or_insert_with_key(|passage| Arc::from(passage.as_str()));
        let answers = vec![Answer { text, answer_start: start }];
        let (context, title) = (Arc::clone(context), Arc::from(""));
        let question = Question { id: id.clone(), question: row.question, context, answers, title };
        question.check_answers(path)?;
        if start.checked_add(length) != Some(end) {
            let message = format!(
                "question `{id}`: answer.end is {end}, but {length} code points from {start} end \
                 elsewhere; `end` is one past the answer's last"
            );
            return Err(Error::Content { path: path.to_path_buf(), message });
        }
        questions.push(question);
        types.extend(row.subtype.map(|subtype| (id, subtype)));
    }
    let dataset = Dataset { path: path.to_path_buf(), version: None, questions };
    dataset.check_ids()?;
    Ok(TypedDataset { dataset, types })
}

/// A row of MTQA.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub id: Option<String>,
    pub question: String,
    pub passage: String,
    pub answer: RowAnswer,
    pub subtype: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct RowAnswer {
    pub start: usize,
    pub end: usize,
    pub text: String,
}
