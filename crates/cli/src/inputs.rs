//! Protection of input files from being overwritten.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, Once, PoisonError};

use atomic_file::Observer;

static INPUTS: Inputs = Inputs(Mutex::new(Vec::new()));
static IS_OBSERVER: Once = Once::new();

/// The absolute paths of the files that the process has opened for reading.
struct Inputs(Mutex<Vec<PathBuf>>);

impl Observer for Inputs {
    fn opened(&self, path: &Path) {
        let path = if path == Path::new("-") { Path::new("/dev/stdin") } else { path };
        // A relative path would refer to another file after a change of the working directory.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let mut inputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !inputs.contains(&path) {
            inputs.push(path);
        }
    }

    fn check_output(&self, target: &Path) -> io::Result<()> {
        let inputs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inputs.iter().any(|input| is_same_file(input, target)) {
            false => Ok(()),
            true => {
                let reason =
                    "it is one of the inputs and would be overwritten; choose another path";
                Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
            }
        }
    }
}

/// Protects all files that this process reads through `atomic-file` after the call: creating or
/// publishing an output file with the path or inode of such an input fails.
///
/// Call this function at the start of `main`. Further calls have no effect.
///
/// # Panics
/// If the process has another [`Observer`].
pub fn protect_inputs() {
    IS_OBSERVER.call_once(|| {
        atomic_file::set_observer(&INPUTS).expect("a program installs no other observer");
    });
}

/// Returns the absolute paths of the files that were read since [`protect_inputs`] was called. The
/// list is empty if [`protect_inputs`] was not called.
pub fn inputs() -> Vec<PathBuf> {
    INPUTS.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
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
