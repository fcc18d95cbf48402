//! Temporary files in the folder of their target.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempPath;

const PREFIX: &str = ".writing-";
/// Number of random letters and digits after the prefix.
const RANDOM_CHARS: usize = 6;

/// Returns whether `name` is the name of a temporary file of this crate: `.writing-` and six
/// letters or digits.
///
/// A killed process leaves such files in the folders of its targets.
pub fn is_temporary(name: &OsStr) -> bool {
    let suffix = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    suffix.is_some_and(|suffix| {
        suffix.len() == RANDOM_CHARS && suffix.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// Creates an empty temporary file in the folder of `path`, with the default mode of new files.
pub(crate) fn create_next_to(path: &Path) -> io::Result<(File, TempPath)> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name"));
    }
    let folder = folder_of(path);
    let folder_error = |source: io::Error| {
        let reason = format!("cannot create a file in the folder {}: {source}", folder.display());
        io::Error::new(source.kind(), reason)
    };
    // Without this check, the error of `tempfile_in` would contain the temporary name.
    if !fs::metadata(folder).map_err(folder_error)?.is_dir() {
        return Err(folder_error(io::ErrorKind::NotADirectory.into()));
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // The umask applies to this mode. By default, temporary files would be private.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder
        .prefix(PREFIX)
        .rand_bytes(RANDOM_CHARS)
        .tempfile_in(folder)
        .map_err(folder_error)?;
    Ok(file.into_parts())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Syncs the folder of `path` to disk, if the system and the file system support this.
#[cfg(unix)]
pub(crate) fn sync_folder_of(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // The folder is not readable, or the file system does not support fsync of folders.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        result => result,
    }
}

#[cfg(not(unix))]
pub(crate) fn sync_folder_of(_path: &Path) -> io::Result<()> {
    Ok(())
}
