//! JSON files of model folders.
use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Error, Result};

/// Reads a JSON file of up to 16 MiB; if the file cannot be read, `hint` is appended to the error
/// message.
pub(crate) fn read_json(path: &Path, hint: &'static str) -> Result<Value> {
    let text = atomic_file::read_limited(path, 16 << 20);
    let text = text.map_err(|error| {
        let atomic_file::Error { path, source, .. } = error;
        Error::Io { path, hint, source }
    })?;
    parse_json(path, &text)
}

/// Parses the bytes of the file `path`.
pub(crate) fn parse_json<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { path: path.to_owned(), source })
}

/// Writes a JSON file, atomically.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    Ok(atomic_file::write(path, to_pretty_json(value))?)
}

/// Returns indented JSON with a final line end.
pub(crate) fn to_pretty_json(value: &Value) -> Vec<u8> {
    format!("{value:#}\n").into_bytes()
}
