//! The observer of a process's input and output files.
use std::fmt::{self, Display, Formatter};
use std::io;
use std::path::Path;
use std::sync::OnceLock;

use crate::{Error, WRITE};

/// Is told which files the process reads, and may reject output files.
///
/// This crate has no state of its own. A program that protects its inputs from being overwritten, or
/// lists them, implements this trait and calls [`set_observer`].
pub trait Observer: Sync {
    /// Called after the file `path` was opened for reading; `-` is standard input.
    fn opened(&self, path: &Path);

    /// Called before an output file is created, and before it is renamed to its target. `target` is
    /// the path with symbolic links resolved.
    ///
    /// # Errors
    /// The reason for which the file must not be written.
    fn check_output(&self, target: &Path) -> io::Result<()>;
}

/// The observer that the program has installed. Libraries do not set it, as with the logger of the
/// crate `log`.
static OBSERVER: OnceLock<&'static dyn Observer> = OnceLock::new();

/// The process already has an [`Observer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObserverIsSet;

impl Display for ObserverIsSet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("the process already has an observer of files")
    }
}

impl std::error::Error for ObserverIsSet {}

/// Installs the observer of this process, in the `main` function of a program.
///
/// # Errors
/// [`ObserverIsSet`] if the process has an observer.
pub fn set_observer(observer: &'static dyn Observer) -> Result<(), ObserverIsSet> {
    OBSERVER.set(observer).map_err(|_| ObserverIsSet)
}

/// Reports to the [`Observer`] that the file `path` was opened for reading.
///
/// The readers of this crate call this function. Call it for files that are read without this
/// crate.
pub fn report_opened(path: &Path) {
    if let Some(observer) = OBSERVER.get() {
        observer.opened(path);
    }
}

/// Checks that the [`Observer`], if any, accepts the output file `path`.
///
/// The writers of this crate also make this check; programs can make it before long computations.
///
/// # Errors
/// The error of [`Observer::check_output`].
pub fn check_output(path: &Path) -> Result<(), Error> {
    match OBSERVER.get() {
        Some(observer) => observer.check_output(path).map_err(Error::new(path, WRITE)),
        None => Ok(()),
    }
}
