//! File locks.
use std::fs::{File, TryLockError};
use std::io::{self, ErrorKind};

/// A lock against other processes that lock the same file. Dropping the value releases the lock.
///
/// Closing the file is not enough to release the lock: a forked child process shares the open file
/// until it executes its program.
#[derive(Debug)]
pub struct FileLock(File);

impl FileLock {
    /// Locks `file`, or returns `None` if the file system does not support locks.
    ///
    /// # Errors
    /// [`ErrorKind::WouldBlock`] if another process holds the lock, or the error of duplicating the
    /// file's handle.
    pub fn try_acquire(file: &File) -> io::Result<Option<Self>> {
        let file = file.try_clone()?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Err(ErrorKind::WouldBlock.into()),
            // No specific error kind exists for a missing lock service, so every other error is
            // treated as missing support for locks.
            Err(TryLockError::Error(_)) => Ok(None),
        }
    }

    /// Waits until no other process holds the lock, and locks `file`. Returns `None` if the file
    /// system does not support locks.
    ///
    /// # Errors
    /// The error of duplicating the file's handle.
    pub fn acquire(file: &File) -> io::Result<Option<Self>> {
        let file = file.try_clone()?;
        loop {
            match file.lock() {
                Ok(()) => return Ok(Some(Self(file))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Ok(None),
            }
        }
    }
}

impl FileLock {
    /// The locked file. A process that gets a duplicate of it keeps the lock until it ends, unless
    /// this value is dropped before.
    pub fn file(&self) -> &File {
        &self.0
    }
}

impl Drop for FileLock {
    fn drop(&mut self) {
        // If this fails, the system releases the lock when the last handle is closed.
        let _ = self.0.unlock();
    }
}
