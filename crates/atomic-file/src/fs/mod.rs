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
mod file;
mod folder;

use std::fs::{self, Metadata};
use std::io::{self, ErrorKind};
use std::path::{self, Path, PathBuf};

use crate::read::READ;
use crate::{Error, WRITE};

pub use file::File;
pub use folder::{DirEntry, ReadDir, TempDir, read_dir, temporary_dir};

/// Returns the absolute path without resolving links; see [`std::path::absolute`].
pub fn absolute(path: impl AsRef<Path>) -> Result<PathBuf, Error> {
    let path = path.as_ref();
    path::absolute(path).map_err(Error::new(path, READ))
}

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
    File::open(path)
}

/// Reads the bytes of a file; see [`std::fs::read`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    fs::read(path).map_err(Error::new(path, READ))
}

/// Reads the bytes of a file of at most `limit` bytes. Other files are an error of the kind
/// [`ErrorKind::FileTooLarge`].
pub fn read_limited(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    let bytes = open(path)?.read_up_to(limit.saturating_add(1))?;
    if bytes.len() as u64 > limit {
        let reason = format!("has more than {limit} bytes");
        return Err(Error::new(path, READ)(io::Error::new(ErrorKind::FileTooLarge, reason)));
    }
    Ok(bytes)
}

/// Reads a UTF-8 file; see [`std::fs::read_to_string`].
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String, Error> {
    let path = path.as_ref();
    fs::read_to_string(path).map_err(Error::new(path, READ))
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

/// Renames a file or folder; an error has the path `to`. See [`std::fs::rename`].
pub fn rename(from: impl AsRef<Path>, to: impl AsRef<Path>) -> Result<(), Error> {
    let to = to.as_ref();
    fs::rename(from, to).map_err(Error::new(to, WRITE))
}

/// Creates the symbolic link `link` to `target`; see [`std::os::unix::fs::symlink`].
#[cfg(unix)]
pub fn symlink(target: impl AsRef<Path>, link: impl AsRef<Path>) -> Result<(), Error> {
    let link = link.as_ref();
    std::os::unix::fs::symlink(target, link).map_err(Error::new(link, "create the link"))
}

/// Returns the metadata of a file, folder or link; see [`std::fs::symlink_metadata`].
pub fn symlink_metadata(path: impl AsRef<Path>) -> Result<Metadata, Error> {
    let path = path.as_ref();
    fs::symlink_metadata(path).map_err(Error::new(path, READ))
}

/// Returns whether a path exists; see [`std::fs::exists`].
pub fn exists(path: impl AsRef<Path>) -> Result<bool, Error> {
    let path = path.as_ref();
    fs::exists(path).map_err(Error::new(path, READ))
}
