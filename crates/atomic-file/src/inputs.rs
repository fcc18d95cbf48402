//! Protection of input files from being overwritten.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::{Error, WRITE};

/// Absolute paths of the files that were read; `None` before [`protect_inputs`] is called.
static INPUTS: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);

/// Protects all files that this process reads through this crate after the call.
///
/// After the call, creating or publishing an output file with the path of such an input fails. The
/// function is intended for command-line programs.
pub fn protect_inputs() {
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Registers `path` as an input if [`protect_inputs`] was called.
///
/// The readers of this crate call this function. Call it for files that are read without this
/// crate.
pub fn remember_input(path: &Path) {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    // A relative path would refer to another file after a change of the working directory.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(inputs) = inputs.as_mut()
        && !inputs.contains(&path)
    {
        inputs.push(path);
    }
}

/// Returns the absolute paths of the files that were read since [`protect_inputs`] was called. The
/// list is empty if [`protect_inputs`] was not called.
pub fn inputs() -> Vec<PathBuf> {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    inputs.iter().flatten().cloned().collect()
}

/// Checks that `path` is not a protected input.
///
/// The writers of this crate also make this check; programs can make it before long computations.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] if `path` is a protected input.
pub fn check_output(path: &Path) -> Result<(), Error> {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    match inputs.iter().flatten().find(|input| is_same_file(input, path)) {
        None => Ok(()),
        Some(_) => {
            let reason = "it is one of the inputs and would be overwritten; choose another path";
            let source = io::Error::new(io::ErrorKind::InvalidInput, reason);
            Err(Error::new(path, WRITE)(source))
        }
    }
}

/// Returns whether both paths refer to the same existing regular file.
fn is_same_file(a: &Path, b: &Path) -> bool {
    let (Ok(metadata_a), Ok(metadata_b)) = (fs::metadata(a), fs::metadata(b)) else { return false };
    if !metadata_a.is_file() || !metadata_b.is_file() {
        return false;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (metadata_a.dev(), metadata_a.ino()) == (metadata_b.dev(), metadata_b.ino())
    }
    #[cfg(not(unix))]
    {
        matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }
}
