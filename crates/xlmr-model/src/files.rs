//! Files that appear whole or not at all.
use std::fs::{File, Permissions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use crate::{Error, Result};

/// A temporary file beside `path`, with the permissions of any new file.
fn beside(path: &Path) -> Result<NamedTempFile> {
    let folder = folder_of(path);
    let mut builder = tempfile::Builder::new();
    builder.prefix(".writing-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Narrowed by the umask of the process.
        builder.permissions(Permissions::from_mode(0o666));
    }
    builder.tempfile_in(&folder).map_err(|source| Error::Io {
        path: folder.clone(),
        hint: "; a file cannot be made in this folder",
        source,
    })
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// Writes `bytes` to a temporary file beside `path`, syncs it and renames it.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = beside(path)?;
    file.write_all(bytes).map_err(|error| Error::io(path, error))?;
    publish(file.into_temp_path(), path)
}

/// The same for a writer that needs a path of its own and may replace the file there.
pub(crate) fn write_through<F>(path: &Path, write: F) -> Result<()>
where
    F: FnOnce(&Path) -> Result<()>,
{
    let temporary = beside(path)?.into_temp_path();
    let permissions =
        std::fs::metadata(&temporary).map_err(|error| Error::io(path, error))?.permissions();
    write(&temporary)?;
    std::fs::set_permissions(&temporary, permissions).map_err(|error| Error::io(path, error))?;
    publish(temporary, path)
}

fn publish(temporary: TempPath, path: &Path) -> Result<()> {
    File::open(&temporary)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::io(path, error))?;
    temporary.persist(path).map_err(|error| Error::io(path, error.error))
}
