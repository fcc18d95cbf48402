//! The temporary file and its folder.
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::TempPath;

const PREFIX: &str = ".writing-";
/// Random letters and digits after the prefix.
const RANDOM: usize = 6;

/// Whether a file has the name of a temporary file of this crate: `.writing-` and six letters or
/// digits. A killed process leaves such files in the folders of its targets.
pub fn is_temporary(name: &OsStr) -> bool {
    let random = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    random.is_some_and(|random| {
        random.len() == RANDOM && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// An empty file under a temporary name in the folder of `path`, with the mode of any new file.
pub(crate) fn beside(path: &Path) -> io::Result<(File, TempPath)> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"));
    }
    let folder = folder_of(path);
    let refuse = |source: io::Error| {
        let reason = format!("no file can be made in the folder {}: {source}", folder.display());
        io::Error::new(source.kind(), reason)
    };
    // Asked for first, since the error below would name a file nobody knows.
    if !fs::metadata(folder).map_err(refuse)?.is_dir() {
        return Err(refuse(io::ErrorKind::NotADirectory.into()));
    }
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Narrowed by the umask; temporary files are private otherwise.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let file = builder.prefix(PREFIX).rand_bytes(RANDOM).tempfile_in(folder).map_err(refuse)?;
    Ok(file.into_parts())
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes the names in the folder of `path` last, where the file system has a way to.
///
/// # Errors
/// If the disk has one.
#[cfg(unix)]
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder_of(path)).and_then(|folder| folder.sync_all()) {
        // Folders that may be written but not read, and file systems without an fsync of folders.
        Err(error) if matches!(error.kind(), InvalidInput | PermissionDenied | Unsupported) => {
            Ok(())
        }
        outcome => outcome,
    }
}

/// Nothing: there is no way to.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn sync_folder_of(_path: &Path) -> io::Result<()> {
    Ok(())
}
