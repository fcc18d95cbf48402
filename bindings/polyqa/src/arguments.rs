//! Converts and validates Python arguments, and creates exceptions.
use std::error::Error;
use std::io;

use mlqa_eval::Question;
use polyqa::{Document, Query};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

/// Converts an error to a Python exception with a one-line message: `OSError` or a subclass for
/// files that cannot be read, else `ValueError`.
pub fn py_error(error: &(dyn Error + 'static)) -> PyErr {
    let message = atomic_file::one_line(&error.to_string()).into_owned();
    let mut causes = std::iter::successors(error.source(), |cause| (*cause).source());
    match causes.find_map(|cause| cause.downcast_ref::<io::Error>()) {
        Some(cause) => io::Error::new(cause.kind(), message).into(),
        None => PyValueError::new_err(message),
    }
}

/// Creates a `ValueError` with a one-line message.
pub fn value_error(message: &str) -> PyErr {
    PyValueError::new_err(atomic_file::one_line(message).into_owned())
}

/// Converts a count that must be at least `min`.
pub fn to_count(name: &str, value: i64, min: u32) -> PyResult<usize> {
    let count = u32::try_from(value).ok().filter(|&count| count >= min);
    count
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| value_error(&format!("{name}={value}: must be from {min} to {}", u32::MAX)))
}

/// Converts a question and trims white space.
pub fn to_question(value: &Bound<'_, PyAny>, location: &str) -> PyResult<String> {
    let question = to_text(value, location)?.trim().to_owned();
    match question.is_empty() {
        true => Err(value_error(&format!("{location}: must not be empty"))),
        false => Ok(question),
    }
}

/// Converts a text, or a list of texts or of `{"id": …, "text": …}`, to documents. The default id
/// of a document is its index.
pub fn to_documents(argument: &Bound<'_, PyAny>) -> PyResult<Vec<Document>> {
    let items = match argument.is_instance_of::<PyString>() {
        true => vec![argument.clone()],
        false => items(argument, "documents", "a str or a list")?,
    };
    let convert = |(index, item): (usize, &Bound<'_, PyAny>)| {
        let location = format!("documents[{index}]");
        let Ok(row) = item.cast::<PyDict>() else {
            return Ok(Document {
                id: index.to_string().into(),
                text: to_text(item, &location)?.into(),
            });
        };
        let id = parse_id(row, &location)?.unwrap_or_else(|| index.to_string());
        Ok(Document { text: text_field(row, "text", &location)?.into(), id: id.into() })
    };
    items.iter().enumerate().map(convert).collect()
}

/// Converts a list of `{"id": …, "text": …}` to documents.
pub fn to_documents_with_ids(argument: &Bound<'_, PyAny>) -> PyResult<Vec<Document>> {
    let convert = |(index, item): (usize, &Bound<'_, PyAny>)| {
        let location = format!("documents[{index}]");
        let row = item.cast::<PyDict>().map_err(|_| {
            let format = "{\"id\": …, \"text\": …}";
            value_error(&format!("{location}: expected {format}, got {}", type_name(item)))
        })?;
        let id = parse_id(row, &location)?;
        let id = id.ok_or_else(|| value_error(&format!("{location}: id is missing")))?;
        Ok(Document { text: text_field(row, "text", &location)?.into(), id: id.into() })
    };
    let items = items(argument, "documents", "a list of dicts")?;
    items.iter().enumerate().map(convert).collect()
}

/// Converts an id or a list of ids.
pub fn to_ids(argument: &Bound<'_, PyAny>) -> PyResult<Vec<String>> {
    let items = match argument.is_instance_of::<PyString>() {
        true => vec![argument.clone()],
        false => items(argument, "ids", "a str or a list of str")?,
    };
    let convert = |(index, item)| to_text(item, &format!("ids[{index}]"));
    items.iter().enumerate().map(convert).collect()
}

/// Converts a question, or a list of questions or of `{"id": …, "question": …}`.
pub fn to_queries(argument: &Bound<'_, PyAny>) -> PyResult<Vec<Query>> {
    if argument.is_instance_of::<PyString>() {
        return Ok(vec![Query { id: None, text: to_question(argument, "question")? }]);
    }
    let convert = |(index, item): (usize, &Bound<'_, PyAny>)| {
        let location = format!("question[{index}]");
        let Ok(row) = item.cast::<PyDict>() else {
            return Ok(Query { id: None, text: to_question(item, &location)? });
        };
        let id = parse_id(row, &location)?;
        let text = to_question(&required_field(row, "question", &location)?, &location)?;
        Ok(Query { id, text })
    };
    let items = items(argument, "question", "a str or a list")?;
    items.iter().enumerate().map(convert).collect()
}

/// Converts questions with contexts, `{"question": …, "context": …}`. Also returns for each
/// question whether the question has an id.
pub fn to_questions(argument: &Bound<'_, PyAny>) -> PyResult<(Vec<Question>, Vec<bool>)> {
    let items = items(argument, "question", "a str, or a list without documents")?;
    let convert = |(index, item): (usize, &Bound<'_, PyAny>)| {
        let location = format!("question[{index}]");
        let row = item.cast::<PyDict>().map_err(|_| {
            let format = "{\"question\": …, \"context\": …}";
            value_error(&format!("{location}: expected {format}, got {}", type_name(item)))
        })?;
        let row_id = parse_id(row, &location)?;
        let location = row_id.as_ref().map_or(location, |id| format!("question `{id}`"));
        let title = row.get_item("title")?.map(|title| to_text(&title, &location)).transpose()?;
        let has_id = row_id.is_some();
        let question = Question {
            question: to_question(&required_field(row, "question", &location)?, &location)?,
            context: text_field(row, "context", &location)?.into(),
            answers: Vec::new(),
            title: title.as_deref().unwrap_or("").into(),
            id: row_id.unwrap_or_else(|| index.to_string()),
        };
        Ok((question, has_id))
    };
    items.iter().enumerate().map(convert).collect()
}

fn items<'py>(
    argument: &Bound<'py, PyAny>,
    name: &str,
    expected: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let values = argument.try_iter().ok().filter(|_| !argument.is_instance_of::<PyDict>());
    let Some(values) = values else {
        return Err(value_error(&format!(
            "{name}: expected {expected}, got {}",
            type_name(argument)
        )));
    };
    let items = values.collect::<PyResult<Vec<_>>>()?;
    match items.is_empty() {
        true => Err(value_error(&format!("{name}: must not be empty"))),
        false => Ok(items),
    }
}

/// Returns the field `id`, a string or an integer, if present.
fn parse_id(row: &Bound<'_, PyDict>, location: &str) -> PyResult<Option<String>> {
    match row.get_item("id")?.filter(|id| !id.is_none()) {
        Some(id) if id.is_instance_of::<PyInt>() => Ok(Some(id.to_string())),
        Some(id) => to_text(&id, &format!("{location}: id")).map(Some),
        None => Ok(None),
    }
}

fn text_field(row: &Bound<'_, PyDict>, name: &str, location: &str) -> PyResult<String> {
    to_text(&required_field(row, name, location)?, &format!("{location}: {name}"))
}

fn required_field<'py>(
    row: &Bound<'py, PyDict>,
    name: &str,
    location: &str,
) -> PyResult<Bound<'py, PyAny>> {
    row.get_item(name)?.ok_or_else(|| value_error(&format!("{location}: {name} is missing")))
}

fn to_text(value: &Bound<'_, PyAny>, location: &str) -> PyResult<String> {
    let Ok(text) = value.cast::<PyString>() else {
        return Err(value_error(&format!("{location}: expected a str, got {}", type_name(value))));
    };
    let to_error = |_| value_error(&format!("{location}: an unpaired surrogate is not valid text"));
    text.to_cow().map(|text| text.into_owned()).map_err(to_error)
}

/// Returns the type name of a value for messages.
fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}
