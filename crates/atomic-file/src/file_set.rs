//! Publication of several files together: renaming them from temporary names to their targets.
use std::path::Path;

use crate::{AtomicFile, Error, SyncedFile};

/// Renames complete files to their targets, immediately one after another.
///
/// All files are checked first; if a check fails, no file is renamed.
///
/// # Errors
/// The error of the first file that cannot be renamed.
pub fn publish_all(files: impl IntoIterator<Item = SyncedFile>) -> Result<(), Error> {
    let files: Vec<SyncedFile> = files.into_iter().collect();
    files.iter().try_for_each(SyncedFile::check)?;
    files.into_iter().try_for_each(SyncedFile::publish)
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
    pub fn add(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(bytes.as_ref())?;
        self.files.push(file.sync()?);
        Ok(())
    }

    /// Renames all files to their targets.
    ///
    /// # Errors
    /// The errors of [`publish_all`].
    pub fn publish(self) -> Result<(), Error> {
        publish_all(self.files)
    }
}
