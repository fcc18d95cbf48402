//! A temporary folder that is also removed if the program is stopped by a signal.
use std::path::{Path, PathBuf};
use std::time::Duration;

use atomic_file::Error;
use atomic_file::fs::{TempDir, temporary_dir};

/// Number of attempts to remove a folder to which another thread may be writing.
const ATTEMPTS: usize = 20;

/// An empty folder for temporary files. It is removed when the value is dropped, and when SIGINT or
/// SIGTERM ends the process.
pub struct TemporaryFolder(TempDir);

impl TemporaryFolder {
    /// Creates a folder in the system's folder for temporary files. Its name begins with `prefix`.
    ///
    /// The signals still end the process. A program that handles them itself must not create a
    /// folder.
    ///
    /// # Errors
    /// If the folder cannot be created, or the signals cannot be handled.
    pub fn new(prefix: &str) -> Result<Self, Error> {
        let parent = std::env::temp_dir();
        let folder = temporary_dir(&parent, prefix)?;
        remove_on_signals(folder.path().to_owned()).map_err(Error::new(&parent, "protect"))?;
        Ok(Self(folder))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// Starts a thread that waits for a signal, removes the folder and ends the process as the signal
/// would have ended it.
#[cfg(unix)]
fn remove_on_signals(folder: PathBuf) -> std::io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};

    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            for _ in 0..ATTEMPTS {
                match std::fs::remove_dir_all(&folder) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        std::thread::sleep(Duration::from_millis(10));
                    }
                    _ => break,
                }
            }
            let _ = signal_hook::low_level::emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

#[cfg(not(unix))]
fn remove_on_signals(_folder: PathBuf) -> std::io::Result<()> {
    Ok(())
}
