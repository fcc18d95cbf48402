//! Reading and atomic writing of a run's files, entries of folders, and SHA-256.
use std::path::Path;

use atomic_file::fs::DirEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::{Error, Result};

/// Writes a text file atomically, and creates its folder if missing.
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("tables/table.md");
/// experiment::write_text(&path, "| F1 |\n")?;
/// assert_eq!(std::fs::read_to_string(&path)?, "| F1 |\n");
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] naming the file.
pub fn write_text(path: impl AsRef<Path>, text: &str) -> Result<()> {
    let path = path.as_ref();
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        atomic_file::fs::create_dir_all(folder)?;
    }
    Ok(atomic_file::write(path, text)?)
}

/// Writes indented JSON like [`write_text`].
///
/// ```
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("f1.json");
/// experiment::write_json(&path, &[0.1, 0.25])?;
/// assert_eq!(experiment::read_json::<Vec<f64>>(&path)?, [0.1, 0.25]);
/// # Ok::<(), anyhow::Error>(())
/// ```
///
/// # Errors
/// [`Error::File`] or, for a value without a JSON form, [`Error::Content`], naming the file.
pub fn write_json<T: Serialize + ?Sized>(path: impl AsRef<Path>, value: &T) -> Result<()> {
    let path = path.as_ref();
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::content(path, e))?;
    write_text(path, &(text + "\n"))
}

/// Reads a JSON file. [`write_json`] has an example.
///
/// # Errors
/// [`Error::File`] or [`Error::Content`] naming the file, line and column.
pub fn read_json<T: DeserializeOwned>(path: impl AsRef<Path>) -> Result<T> {
    let path = path.as_ref();
    let text = atomic_file::read_to_string(path)?;
    serde_json::from_str(&text).map_err(|error| Error::content(path, error))
}

/// The entries of a folder, sorted by name.
pub(crate) fn entries(folder: &Path) -> Result<Vec<DirEntry>> {
    let mut entries = atomic_file::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(DirEntry::file_name);
    Ok(entries)
}

/// The hexadecimal SHA-256 of bytes.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
