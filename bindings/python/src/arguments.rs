//! Arguments that the functions share.
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use mlqa_eval::{Dataset, Language, MLQA_LANGUAGES, Normalization, Predictions};
use pyo3::exceptions::{PyOverflowError, PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::py_error;

/// Reads the questions of a file, or of what `json.load` makes of one; what the file has that is
/// odd becomes a warning.
pub fn dataset(given: &Bound<'_, PyAny>) -> PyResult<Dataset> {
    let py = given.py();
    if given.is_instance_of::<PyDict>() || given.is_instance_of::<PyList>() {
        let text = py.import("json")?.call_method1("dumps", (given,));
        let text = text.and_then(|text| text.extract::<String>());
        let read = |text: String| py.detach(|| Dataset::parse(&text, "dataset")).map_err(py_error);
        return text.and_then(read).map_err(|error| match no_json(given, 0) {
            Some((place, what)) => {
                let place = place.trim_start_matches('.');
                refused(&format!("dataset: {place}: {what}, which JSON does not have"))
            }
            None if error.is_instance_of::<PyValueError>(py) => error,
            None => refused(&format!("dataset: {}", error.value(py))),
        });
    }
    let Ok(path) = given.extract::<PathBuf>() else {
        let kind = kind(given);
        return Err(refused(&format!(
            "dataset: expected a file or what json.load makes of one, got {kind}"
        )));
    };
    let dataset = py.detach(|| Dataset::read(path));
    whole_file::take_notes().iter().try_for_each(|note| warn(py, note))?;
    dataset.map_err(py_error)
}

/// How deep JSON may be.
const DEEPEST: usize = 127;

/// Where a value is that JSON does not have, and what it is.
fn no_json(value: &Bound<'_, PyAny>, depth: usize) -> Option<(String, String)> {
    if depth > DEEPEST {
        return Some((String::new(), format!("more than {DEEPEST} levels")));
    }
    if let Ok(object) = value.cast::<PyDict>() {
        return object.iter().find_map(|(key, value)| {
            let found = no_json(&value, depth + 1);
            found.map(|(place, what)| (format!(".{key}{place}"), what))
        });
    }
    let list = value.cast::<PyList>().map(|list| list.as_any());
    if let Ok(list) = list.or_else(|_| value.cast::<PyTuple>().map(|list| list.as_any())) {
        let mut items = list.try_iter().ok()?.flatten().enumerate();
        return items.find_map(|(k, item)| {
            let found = no_json(&item, depth + 1);
            found.map(|(place, what)| (format!("[{k}]{place}"), what))
        });
    }
    let what = if let Ok(number) = value.cast::<PyFloat>() {
        (!number.value().is_finite()).then(|| number.to_string())
    } else if let Ok(text) = value.cast::<PyString>() {
        text.to_cow().is_err().then(|| "half of a surrogate pair".to_owned())
    } else {
        let known =
            value.is_none() || value.is_instance_of::<PyBool>() || value.is_instance_of::<PyInt>();
        (!known).then(|| kind(value))
    };
    what.map(|what| (String::new(), what))
}

/// Answers by question id, or a file of them.
pub fn predictions(given: &Bound<'_, PyAny>) -> PyResult<Predictions> {
    if let Ok(answers) = given.cast::<PyDict>() {
        let answers = answers.iter().map(|(id, answer)| {
            let Ok(id) = id.extract::<String>() else {
                return Err(refused(&format!(
                    "predictions: {id}: expected a question's id, a str"
                )));
            };
            answer.extract().map(|answer| (id.clone(), answer)).map_err(|_| {
                let got = if answer.is_none() { "None".to_owned() } else { kind(&answer) };
                refused(&format!(
                    "predictions: question `{id}`: expected its answer, a str, got {got}"
                ))
            })
        });
        return answers.collect::<PyResult<BTreeMap<String, String>>>().map(Predictions);
    }
    if let Ok(path) = given.extract::<PathBuf>() {
        return given.py().detach(|| Predictions::read(path)).map_err(py_error);
    }
    let first = given.get_item(0).and_then(|row| row.get_item("id"));
    let first = first.map_or(String::new(), |id| format!(", the first for question `{id}`"));
    Err(refused(&format!(
        "predictions: expected {{\"<question id>\": \"<answer>\", …}} or a file of that, got {}{first}",
        kind(given)
    )))
}

/// What a value is, as messages name it.
fn kind(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}

fn refused(message: &str) -> PyErr {
    PyValueError::new_err(whole_file::one_line(message).into_owned())
}

/// Counts that arguments give; one that is negative or too large is a `ValueError` that names it.
macro_rules! counts {
    ($($name:ident),*) => {$(
        pub fn $name(value: &Bound<'_, PyAny>) -> PyResult<usize> {
            value.extract::<u32>().map(|count| count as usize).map_err(|error| {
                match error.is_instance_of::<PyOverflowError>(value.py()) {
                    true => refused(&format!(
                        "{}={value}: must be from 0 to {}", stringify!($name), u32::MAX
                    )),
                    false => error,
                }
            })
        }
    )*};
}

counts!(n_best, max_answer_length, max_length, doc_stride, max_question_length);

/// The rules for `norm` and the language `lang`, `None` for those of each question's own; a
/// language that is not MLQA's gets a warning, since it may be a typing error.
pub fn rules(py: Python<'_>, lang: Option<&str>, norm: &str) -> PyResult<Option<Normalization>> {
    match (norm, lang) {
        ("squad", _) => Ok(Some(Normalization::SquadEn)),
        ("mlqa", None) => Ok(None),
        ("mlqa", Some(code)) => {
            let language: Language =
                code.parse().map_err(|error| py_error(mlqa_eval::Error::Language(error)))?;
            if !MLQA_LANGUAGES.iter().any(|known| known.as_str() == language.base()) {
                let known = MLQA_LANGUAGES.map(|known| known.to_string()).join(", ");
                let note = "its articles are not removed";
                warn(py, &format!("{language} is none of MLQA's languages ({known}); {note}"))?;
            }
            Ok(Some(Normalization::Mlqa(language)))
        }
        _ => Err(refused(&format!("norm={norm:?}: must be \"mlqa\" or \"squad\""))),
    }
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let message = CString::new(whole_file::one_line(message).as_ref())?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)
}
