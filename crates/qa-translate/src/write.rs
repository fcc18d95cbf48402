//! Atomic writing, with errors that name the file.
use std::path::{Path, PathBuf};

use mlqa_eval::Dataset;
use serde::Serialize;
use whole_file::{PublishError, Together};

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

/// Writes question files that belong together: all are complete before the first gets its name;
/// missing folders are created.
pub(crate) fn write_datasets(files: &[(PathBuf, Dataset)]) -> Result<(), TranslateError> {
    let mut together = Together::default();
    for (path, dataset) in files {
        let bytes = dataset.to_json(path)?;
        if let Some(folder) = path.parent() {
            let made = std::fs::create_dir_all(folder);
            made.map_err(TranslateError::io(folder, "create the folder"))?;
        }
        together.add(path, bytes).map_err(TranslateError::io(path, "write the file"))?;
    }
    together.publish().map_err(|PublishError { path, source }| TranslateError::Io {
        path,
        action: "write the file",
        source,
    })
}
