//! Atomic file writes, with errors that name the file.
use std::fs;
use std::path::Path;

use atomic_file::AtomicFile;

use crate::Error;

/// Creates a writer of a temporary file for `path`. The folder of `path` is created if it does not
/// exist.
pub(crate) fn create(path: &Path) -> Result<AtomicFile, Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
    }
    Ok(AtomicFile::create(path)?)
}
