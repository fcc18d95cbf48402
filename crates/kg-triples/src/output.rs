//! Atomic file writes, with errors that name the file.
use std::path::Path;

use atomic_file::AtomicFile;

use crate::Error;

/// Creates a writer of a temporary file for `path`. The folder of `path` is created if it does not
/// exist.
pub(crate) fn create(path: &Path) -> Result<AtomicFile, Error> {
    if let Some(folder) = path.parent() {
        atomic_file::fs::create_dir_all(folder)?;
    }
    Ok(AtomicFile::create(path)?)
}
