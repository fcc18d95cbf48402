//! Files that were read, so that none of them is written over.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// The files that were read; `None` before [`protect_inputs`].
static INPUTS: Mutex<Option<Vec<PathBuf>>> = Mutex::new(None);

/// From now on, no file that this process reads through this crate is written over: making or
/// publishing an output that is one of them fails. For programs, whose inputs are their users'.
pub fn protect_inputs() {
    INPUTS.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default();
}

/// Counts `path` among the inputs, where [`protect_inputs`] was called. [`open`](crate::open) and
/// its like do so; this is for files that are read in another way.
pub fn remember_input(path: &Path) {
    let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
    // A relative path would mean another file after a change of folder.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(inputs) = inputs.as_mut()
        && !inputs.contains(&path)
    {
        inputs.push(path);
    }
}

/// The files that were read since [`protect_inputs`], as absolute paths; none without it.
pub fn inputs() -> Vec<PathBuf> {
    let inputs = INPUTS.lock().unwrap_or_else(PoisonError::into_inner);
    inputs.clone().unwrap_or_default()
}

/// Whether `path` may be written: it is none of the inputs that are protected. Programs check
/// before long work; every writer of this crate checks again.
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

/// Whether both paths lead to one regular file that exists.
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
