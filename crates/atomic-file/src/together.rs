//! Publishing several files together.
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{AtomicFile, Synced};

/// The file that could not be published, and the reason.
#[derive(Debug)]
pub struct PublishError {
    /// The path of the target.
    pub path: PathBuf,
    /// The reason.
    pub source: io::Error,
}

/// Renames complete files to their targets, directly one after another. All files are checked
/// first, and if a check fails, none is renamed.
///
/// # Errors
/// [`PublishError`] names the file.
pub fn publish_all(files: impl IntoIterator<Item = Synced>) -> Result<(), PublishError> {
    let files: Vec<Synced> = files.into_iter().collect();
    let refuse = |path: &Path| {
        let path = path.to_owned();
        |source| PublishError { path, source }
    };
    for file in &files {
        file.check().map_err(refuse(file.path()))?;
    }
    for file in files {
        let refuse = refuse(file.path());
        file.publish().map_err(refuse)?;
    }
    Ok(())
}

/// Files that are written under temporary names and renamed together by [`FileSet::publish`]. All
/// of them are removed if the set is dropped before.
#[derive(Debug, Default)]
pub struct FileSet {
    files: Vec<Synced>,
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
