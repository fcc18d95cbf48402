//! Atomic file writes, with errors that name the file.
use std::fs;
use std::path::Path;

use atomic_file::{AtomicFile, PublishError, SyncedFile};

use crate::Error;

/// Creates a writer of a temporary file for `path`. The folder of `path` is created if it does not
/// exist.
pub(crate) fn create(path: &Path) -> Result<AtomicFile, Error> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))?;
    }
    AtomicFile::create(path).map_err(Error::io(path, "write the file"))
}

/// Syncs the temporary file to disk. The caller must rename it with [`publish`].
pub(crate) fn sync(file: AtomicFile) -> Result<SyncedFile, Error> {
    let io_error = Error::io(file.path(), "write the file");
    file.sync().map_err(io_error)
}

/// Renames complete temporary files to their final paths.
pub(crate) fn publish(files: impl IntoIterator<Item = SyncedFile>) -> Result<(), Error> {
    atomic_file::publish_all(files).map_err(|PublishError { path, source }| Error::Io {
        path,
        action: "rename the finished file",
        source,
    })
}
