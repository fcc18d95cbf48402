//! Conversion and validation of Python arguments.
use mlqa_eval::Question;
use polyqa::Document;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString};

/// Creates a `ValueError` with a one-line message.
pub fn refused(message: &str) -> PyErr {
    PyValueError::new_err(atomic_file::one_line(message).into_owned())
}

/// Converts a count that must be at least `min`.
pub fn count(name: &str, value: i64, min: u32) -> PyResult<usize> {
    let count = u32::try_from(value).ok().filter(|&count| count >= min);
    count
        .and_then(|count| usize::try_from(count).ok())
        .ok_or_else(|| refused(&format!("{name}={value}: must be from {min} to {}", u32::MAX)))
}

/// Converts a question and trims white space.
pub fn question(value: &Bound<'_, PyAny>, place: &str) -> PyResult<String> {
    let question = text(value, place)?.trim().to_owned();
    match question.is_empty() {
        true => Err(refused(&format!("{place}: must not be empty"))),
        false => Ok(question),
    }
}

/// Converts one text, or a list of texts or `{"id": …, "text": …}`. A document without an id gets
/// its index.
pub fn documents(argument: &Bound<'_, PyAny>) -> PyResult<Vec<Document>> {
    let items = match argument.is_instance_of::<PyString>() {
        true => vec![argument.clone()],
        false => items(argument, "documents", "a str or a list")?,
    };
    let read = |(number, item): (usize, &Bound<'_, PyAny>)| {
        let place = format!("documents[{number}]");
        let Ok(row) = item.cast::<PyDict>() else {
            return Ok(Document {
                id: number.to_string().into(),
                text: text(item, &place)?.into(),
            });
        };
        let id = id(row, &place)?.unwrap_or_else(|| number.to_string());
        Ok(Document { text: field(row, "text", &place)?.into(), id: id.into() })
    };
    items.iter().enumerate().map(read).collect()
}

/// Converts questions with their own contexts, `{"question": …, "context": …}`; also returns
/// whether each has an id.
pub fn questions(argument: &Bound<'_, PyAny>) -> PyResult<(Vec<Question>, Vec<bool>)> {
    let items = items(argument, "question", "a str, or a list without documents")?;
    let read = |(number, item): (usize, &Bound<'_, PyAny>)| {
        let place = format!("question[{number}]");
        let row = item.cast::<PyDict>().map_err(|_| {
            let form = "{\"question\": …, \"context\": …}";
            refused(&format!("{place}: expected {form}, got {}", kind(item)))
        })?;
        let given_id = id(row, &place)?;
        let place = given_id.as_ref().map_or(place, |id| format!("question `{id}`"));
        let title = row.get_item("title")?.map(|title| text(&title, &place)).transpose()?;
        let has_id = given_id.is_some();
        let question = Question {
            question: question(&required(row, "question", &place)?, &place)?,
            context: field(row, "context", &place)?.into(),
            answers: Vec::new(),
            title: title.unwrap_or_default().into(),
            id: given_id.unwrap_or_else(|| number.to_string()),
        };
        Ok((question, has_id))
    };
    items.iter().enumerate().map(read).collect()
}

fn items<'py>(
    argument: &Bound<'py, PyAny>,
    name: &str,
    expected: &str,
) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let values = argument.try_iter().ok().filter(|_| !argument.is_instance_of::<PyDict>());
    let Some(values) = values else {
        return Err(refused(&format!("{name}: expected {expected}, got {}", kind(argument))));
    };
    let items = values.collect::<PyResult<Vec<_>>>()?;
    match items.is_empty() {
        true => Err(refused(&format!("{name}: must not be empty"))),
        false => Ok(items),
    }
}

/// Returns the field `id`, a string or an integer, if present.
fn id(row: &Bound<'_, PyDict>, place: &str) -> PyResult<Option<String>> {
    match row.get_item("id")?.filter(|id| !id.is_none()) {
        Some(id) if id.is_instance_of::<PyInt>() => Ok(Some(id.to_string())),
        Some(id) => text(&id, &format!("{place}: id")).map(Some),
        None => Ok(None),
    }
}

fn field(row: &Bound<'_, PyDict>, name: &str, place: &str) -> PyResult<String> {
    text(&required(row, name, place)?, &format!("{place}: {name}"))
}

fn required<'py>(row: &Bound<'py, PyDict>, name: &str, place: &str) -> PyResult<Bound<'py, PyAny>> {
    row.get_item(name)?.ok_or_else(|| refused(&format!("{place}: {name} is missing")))
}

fn text(value: &Bound<'_, PyAny>, place: &str) -> PyResult<String> {
    let Ok(text) = value.cast::<PyString>() else {
        return Err(refused(&format!("{place}: expected a str, got {}", kind(value))));
    };
    let unpaired = |_| refused(&format!("{place}: an unpaired surrogate is not valid text"));
    text.to_cow().map(|text| text.into_owned()).map_err(unpaired)
}

/// Returns the type name of a value for messages.
fn kind(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}
