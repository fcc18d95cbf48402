//! Entries of folders, and temporary folders.
use std::ffi::OsString;
use std::fs::{self, FileType};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::read::READ;

pub use tempfile::TempDir;

/// The action in errors about the entries of a folder.
const READ_FOLDER: &str = "read the folder";

/// The entries of a folder; see [`read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    entries: fs::ReadDir,
    path: PathBuf,
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let entry = self.entries.next()?;
        Some(entry.map(DirEntry).map_err(Error::new(&self.path, READ_FOLDER)))
    }
}

/// Returns the entries of a folder; see [`std::fs::read_dir`]. Errors of entries have the path of
/// the folder.
pub fn read_dir(path: impl AsRef<Path>) -> Result<ReadDir, Error> {
    let path = path.as_ref();
    let entries = fs::read_dir(path).map_err(Error::new(path, READ_FOLDER))?;
    Ok(ReadDir { entries, path: path.to_owned() })
}

/// An entry of a folder; see [`std::fs::DirEntry`].
#[derive(Debug)]
pub struct DirEntry(fs::DirEntry);

impl DirEntry {
    /// Returns the path of the folder with the name of the entry.
    pub fn path(&self) -> PathBuf {
        self.0.path()
    }

    /// Returns the name of the entry.
    pub fn file_name(&self) -> OsString {
        self.0.file_name()
    }

    /// Returns the type of the entry, without following links.
    ///
    /// # Errors
    /// The error of [`std::fs::DirEntry::file_type`], with the path of the entry.
    pub fn file_type(&self) -> Result<FileType, Error> {
        self.0.file_type().map_err(|source| Error::new(&self.0.path(), READ)(source))
    }
}

/// Creates a temporary folder in `parent`, whose name is `prefix` and random characters. Dropping
/// the value removes the folder.
///
/// Only the owner can access the folder; a new folder inside it has the default mode.
///
/// # Errors
/// If the folder cannot be created. The error has the path `parent`.
pub fn temporary_dir(parent: impl AsRef<Path>, prefix: &str) -> Result<TempDir, Error> {
    let parent = parent.as_ref();
    let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent);
    folder.map_err(Error::new(parent, "create a folder in"))
}
