//! Reads fields of Python objects, with errors for invalid fields.
use std::ffi::CString;

use pyo3::exceptions::{PyKeyError, PyUserWarning, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyIterator, PyString};

/// Converts an error of the crate to a Python exception: `OSError` or a subclass for files that
/// cannot be read or written, else `ValueError`.
pub fn py_error(error: mlqa_eval::Error) -> PyErr {
    let message = atomic_file::one_line(&error.to_string()).into_owned();
    match error {
        mlqa_eval::Error::File(error) => std::io::Error::new(error.kind(), message).into(),
        _ => PyValueError::new_err(message),
    }
}

pub fn value_error(message: &str) -> PyErr {
    PyValueError::new_err(atomic_file::one_line(message).into_owned())
}

pub fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let message = CString::new(atomic_file::one_line(message).as_ref())?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)
}

/// Returns the type name of a value for messages.
pub fn type_name(value: &Bound<'_, PyAny>) -> String {
    value.get_type().name().map_or_else(|_| "something else".into(), |name| name.to_string())
}

/// The reason why a Python object is rejected.
pub enum InputError {
    /// The object has an unsupported format.
    Format(String),
    /// The object raised an exception.
    Python(PyErr),
}

impl From<PyErr> for InputError {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

/// Result of parsing Python objects.
pub type Parsed<T> = Result<T, InputError>;

impl InputError {
    pub fn expected(expected: &str, got: &Bound<'_, PyAny>) -> Self {
        Self::Format(format!("expected {expected}, got {}", type_name(got)))
    }

    /// Prefixes the message with the location.
    pub fn at(self, location: &str) -> Self {
        match self {
            Self::Format(message) => Self::Format(format!("{location}: {message}")),
            error => error,
        }
    }

    /// Prefixes the message with the location and the question's id.
    pub fn at_question(self, row: &Bound<'_, PyAny>, location: &str) -> Self {
        match question_id(row) {
            Ok(Some(id)) => self.at(&format!("{location}: question `{id}`")),
            _ => self.at(location),
        }
    }
}

impl From<InputError> for PyErr {
    fn from(error: InputError) -> Self {
        match error {
            InputError::Format(message) => value_error(&message),
            InputError::Python(error) => error,
        }
    }
}

/// Returns a question's id, which is a string or an integer.
pub fn question_id(map: &Bound<'_, PyAny>) -> Parsed<Option<String>> {
    let Some(id) = field(map, intern!(map.py(), "id"))? else { return Ok(None) };
    match id.cast::<PyInt>() {
        Ok(number) => Ok(Some(number.to_string())),
        Err(_) => extract_text(&id).map(Some).map_err(|error| error.at("`id`")),
    }
}

/// Returns the text of a key; empty if the key is optional and missing.
pub fn text(map: &Bound<'_, PyAny>, key: &Bound<'_, PyString>, mandatory: bool) -> Parsed<String> {
    match field(map, key)? {
        Some(text) => extract_text(&text).map_err(|error| error.at(&format!("`{key}`"))),
        None if mandatory => Err(missing_field(&key.to_string())),
        None => Ok(String::new()),
    }
}

pub fn extract_text(value: &Bound<'_, PyAny>) -> Parsed<String> {
    let text = value.cast::<PyString>().map_err(|_| InputError::expected("a str", value))?;
    let unpaired_surrogate =
        |_| InputError::Format("an unpaired surrogate is not valid text".into());
    Ok(text.to_cow().map_err(unpaired_surrogate)?.into_owned())
}

/// Returns the value of a key; `None` if the value is missing or Python's None.
pub fn field<'py>(
    map: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
) -> Parsed<Option<Bound<'py, PyAny>>> {
    let value = match map.cast::<PyDict>() {
        Ok(dict) => dict.get_item(key)?,
        Err(_) => match map.get_item(key) {
            Ok(value) => Some(value),
            Err(error) if error.is_instance_of::<PyKeyError>(map.py()) => None,
            Err(_) => return Err(InputError::expected("a mapping", map)),
        },
    };
    Ok(value.filter(|value| !value.is_none()))
}

pub fn required_field<'py>(
    map: &Bound<'py, PyAny>,
    key: &Bound<'py, PyString>,
) -> Parsed<Bound<'py, PyAny>> {
    field(map, key)?.ok_or_else(|| missing_field(&key.to_string()))
}

pub fn missing_field(key: &str) -> InputError {
    InputError::Format(format!("missing field `{key}`"))
}

pub fn items<'py>(list: &Bound<'py, PyAny>, expected: &str) -> Parsed<Bound<'py, PyIterator>> {
    let is_text = list.is_instance_of::<PyString>();
    list.try_iter().ok().filter(|_| !is_text).ok_or_else(|| InputError::expected(expected, list))
}
