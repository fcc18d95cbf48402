//! Publication of several files together: renaming them from temporary names to their targets.
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{AtomicFile, SyncedFile};

/// An error that prevents the publication of a file.
#[derive(Debug)]
pub struct PublishError {
    /// The path of the target.
    pub path: PathBuf,
    /// The cause.
    pub source: io::Error,
}

/// Renames complete files to their targets, immediately one after another.
///
/// All files are checked first; if a check fails, no file is renamed.
///
/// # Errors
/// A [`PublishError`] with the path of the first file that cannot be renamed.
pub fn publish_all(files: impl IntoIterator<Item = SyncedFile>) -> Result<(), PublishError> {
    let files: Vec<SyncedFile> = files.into_iter().collect();
    let error_for = |path: &Path| {
        let path = path.to_owned();
        |source| PublishError { path, source }
    };
    for file in &files {
        file.check().map_err(error_for(file.path()))?;
    }
    for file in files {
        let to_error = error_for(file.path());
        file.publish().map_err(to_error)?;
    }
    Ok(())
}

/// Files with temporary names that [`FileSet::publish`] renames together. All files are removed if
/// the set is dropped before the renaming.
#[derive(Debug, Default)]
pub struct FileSet {
    files: Vec<SyncedFile>,
}

impl FileSet {
    /// Writes `bytes` to a temporary file for the target `path`.
    ///
    /// # Errors
    /// The errors of [`AtomicFile::create`] and [`AtomicFile::sync`].
    pub fn add(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes.as_ref())?;
        self.files.push(file.sync()?);
        Ok(())
    }

    /// Renames all files to their targets.
    ///
    /// # Errors
    /// The errors of [`publish_all`].
    pub fn publish(self) -> Result<(), PublishError> {
        publish_all(self.files)
    }
}
