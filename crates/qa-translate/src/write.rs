//! Atomic writing, with errors that name the file.
use std::path::Path;

use serde::Serialize;

use crate::TranslateError;

/// Writes a file atomically; missing folders are created.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), TranslateError> {
    let refuse = |source| TranslateError::io(path, "write the file")(source);
    let mut bytes = serde_json::to_vec_pretty(value).map_err(|error| refuse(error.into()))?;
    bytes.push(b'\n');
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(TranslateError::io(folder, "create the folder"))?;
    }
    whole_file::write(path, bytes).map_err(refuse)
}
