//! Files that belong together.
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::{Synced, WholeFile};

/// The file of several that could not be published.
#[derive(Debug)]
pub struct PublishError {
    /// Its name to be.
    pub path: PathBuf,
    /// The reason.
    pub source: io::Error,
}

/// Gives files that are all complete their names, one right after the other; where one cannot take
/// its name, as far as can be seen before, none does.
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

/// Files that are written now and get their names together, with [`FileSet::publish`]. Dropped
/// before, all of them vanish.
#[derive(Debug, Default)]
pub struct FileSet {
    files: Vec<Synced>,
}

impl FileSet {
    /// Writes `bytes` for the file `path`, which gets its name later.
    ///
    /// # Errors
    /// As for [`WholeFile::create`] and [`WholeFile::sync`].
    pub fn add(&mut self, path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut file = WholeFile::create(path)?;
        file.write_all(bytes.as_ref())?;
        self.files.push(file.sync()?);
        Ok(())
    }

    /// Gives all files their names.
    ///
    /// # Errors
    /// As [`publish_all`].
    pub fn publish(self) -> Result<(), PublishError> {
        publish_all(self.files)
    }
}
