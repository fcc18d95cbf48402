//! Functions of [`std::fs`] whose errors have the path and the action.
//!
//! Unlike the functions in the root of this crate, they do not decompress, and do not report files
//! to the [`Observer`](crate::Observer).
//!
//! ```
//! let error = atomic_file::fs::create_dir_all("/dev/null/folder").unwrap_err();
//! assert!(error.to_string().starts_with("cannot create the folder /dev/null/folder: "));
//! ```
//!
//! # Errors
//! The error of the function in [`std::fs`] as [`Error`].
use std::fs::{self, DirEntry, File, Metadata};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::read::READ;

/// Returns the canonical path; see [`std::fs::canonicalize`].
pub fn canonicalize(path: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let path = path.as_ref();
    fs::canonicalize(path).map_err(Error::new(path, READ))
}

/// Copies a file; an error has the path `from`. See [`std::fs::copy`].
pub fn copy(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<u64, Error> {
    let from = from.as_ref();
    fs::copy(from, to).map_err(Error::new(from, "copy"))
}

/// Creates a folder and the folders above it, if they do not exist; see [`std::fs::create_dir_all`].
pub fn create_dir_all(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    fs::create_dir_all(path).map_err(Error::new(path, "create the folder"))
}

/// Returns the metadata of a file or folder; see [`std::fs::metadata`].
pub fn metadata(path: impl AsRef<Path>) -> Result<Metadata, Error> {
    let path = path.as_ref();
    fs::metadata(path).map_err(Error::new(path, READ))
}

/// Opens a file for reading; see [`File::open`].
pub fn open(path: impl AsRef<Path>) -> Result<File, Error> {
    let path = path.as_ref();
    File::open(path).map_err(Error::new(path, READ))
}

/// Reads the bytes of a file; see [`std::fs::read`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    fs::read(path).map_err(Error::new(path, READ))
}

/// The entries of a folder; see [`read_dir`].
#[derive(Debug)]
pub struct ReadDir {
    entries: fs::ReadDir,
    path: PathBuf,
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.entries.next()?.map_err(Error::new(&self.path, READ)))
    }
}

/// Returns the entries of a folder; see [`std::fs::read_dir`]. Errors of entries have the path of
/// the folder.
pub fn read_dir(path: impl AsRef<Path>) -> Result<ReadDir, Error> {
    let path = path.as_ref();
    let entries = fs::read_dir(path).map_err(Error::new(path, READ))?;
    Ok(ReadDir { entries, path: path.to_owned() })
}

/// Removes an empty folder; see [`std::fs::remove_dir`].
pub fn remove_dir(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    fs::remove_dir(path).map_err(Error::new(path, "remove the folder"))
}

/// Removes a folder with its contents; see [`std::fs::remove_dir_all`].
pub fn remove_dir_all(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    fs::remove_dir_all(path).map_err(Error::new(path, "remove the folder"))
}

/// Removes a file; see [`std::fs::remove_file`].
pub fn remove_file(path: impl AsRef<Path>) -> Result<(), Error> {
    let path = path.as_ref();
    fs::remove_file(path).map_err(Error::new(path, "remove the file"))
}
