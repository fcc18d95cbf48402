//! Operations on files and folders; errors name the path.
use anyhow::{Context, Result};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// Reads a text file.
pub fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// Writes a text file, and creates its folder.
pub fn write(path: &Path, text: &str) -> Result<()> {
    create_folder(path.parent().unwrap_or(path))?;
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Creates a folder unless it exists.
pub fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))
}

/// Removes a folder, if it exists.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// Creates an empty folder; removes an existing folder first.
pub fn create_empty_folder(folder: &Path) -> Result<()> {
    remove_folder(folder)?;
    create_folder(folder)
}

/// Returns the paths of a folder's entries, sorted.
pub fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let path_text = || folder.display().to_string();
    let entries = fs::read_dir(folder).with_context(path_text)?;
    let paths = entries.map(|entry| Ok(entry.with_context(path_text)?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}
