//! JSON of files. Errors have the path of the file.
//!
//! ```
//! use atomic_file::json;
//!
//! let path = "scores.json".as_ref();
//! let text = json::to_string(path, &[0.5, 1.0])?;
//! assert_eq!(json::from_slice::<Vec<f64>>(path, text.as_bytes())?, [0.5, 1.0]);
//! let error = json::from_slice::<Vec<f64>>(path, b"[0.5,").unwrap_err();
//! let reason = "EOF while parsing a value at line 1 column 5";
//! assert_eq!(error.to_string(), format!("cannot read scores.json: {reason}"));
//! # Ok::<(), atomic_file::Error>(())
//! ```
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::read::READ;
use crate::{Error, WRITE};

/// Parses the bytes of the file `path`.
///
/// # Errors
/// The error of [`serde_json::from_slice`], with line and column.
pub fn from_slice<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|error| Error::new(path, READ)(error.into()))
}

/// Returns a value as one line without a line end, for the file `path`.
///
/// # Errors
/// If the value has no JSON form, such as a map whose keys are not text.
pub fn to_string(path: &Path, value: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|error| Error::new(path, WRITE)(error.into()))
}

/// Returns a value as indented JSON without a final line end, for the file `path`.
///
/// # Errors
/// The errors of [`to_string`].
pub fn to_string_pretty(path: &Path, value: &(impl Serialize + ?Sized)) -> Result<String, Error> {
    serde_json::to_string_pretty(value).map_err(|error| Error::new(path, WRITE)(error.into()))
}

/// Returns the message of an error without its position. Errors about a line of a file have the
/// position in the file instead.
///
/// ```
/// let error = serde_json::from_str::<bool>("1").unwrap_err();
/// let reason = "invalid type: integer `1`, expected a boolean";
/// assert_eq!(atomic_file::json::reason(&error), reason);
/// ```
pub fn reason(error: &serde_json::Error) -> String {
    let message = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    match message.strip_suffix(&position) {
        Some(reason) => reason.to_owned(),
        None => message, // an error without a position
    }
}
