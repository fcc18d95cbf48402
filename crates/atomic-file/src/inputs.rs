//! Protection of input files from being overwritten.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The files that were read; `None` before [`protect_inputs`].
static INPUTS: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);

/// Protects all files that this process reads through this crate from now on: creating or
/// publishing an output with the path of an input fails. Intended for command-line programs.
pub fn protect_inputs() {
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Registers `path` as an input if [`protect_inputs`] was called. The functions of this crate do so
/// themselves; call it for files that are read in another way.
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

/// Returns the files that were read since [`protect_inputs`], as absolute paths; empty if it was
/// not called.
pub fn inputs() -> Vec<PathBuf> {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    inputs.clone().unwrap_or_default()
}

/// Checks that `path` is not a protected input. Programs can call it before long computations;
/// every writer of this crate checks again.
///
/// # Errors
/// [`io::ErrorKind::InvalidInput`] for an input.
pub fn check_output(path: &Path) -> io::Result<()> {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    match inputs.iter().flatten().find(|input| same_file(input, path)) {
        None => Ok(()),
        Some(_) => {
            let reason = "it is one of the inputs and would be lost; give another name";
            Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
        }
    }
}

/// Whether both paths refer to the same existing regular file.
fn same_file(one: &Path, other: &Path) -> bool {
    let (Ok(data), Ok(others)) = (fs::metadata(one), fs::metadata(other)) else { return false };
    if !data.is_file() || !others.is_file() {
        return false;
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        (data.dev(), data.ino()) == (others.dev(), others.ino())
    }
    #[cfg(not(unix))]
    {
        matches!((one.canonicalize(), other.canonicalize()), (Ok(a), Ok(b)) if a == b)
    }
}
