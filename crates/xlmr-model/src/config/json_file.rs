//! JSON files of model folders.
use std::path::Path;

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
    serde_json::from_slice(&text).map_err(|error| Error::json(path, error))
}

/// Writes a JSON file, atomically.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::json(path, error))?;
    text.push(b'\n');
    Ok(atomic_file::write(path, text)?)
}
