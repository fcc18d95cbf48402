//! The error of this crate.
use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

/// A file or folder cannot be read or written.
///
/// The message contains the path and the cause: `cannot read scores.json: No such file or directory
/// (os error 2)`.
#[derive(Debug)]
pub struct Error {
    /// The file or folder.
    pub path: PathBuf,
    /// The failed action, such as `read` or `write`.
    pub action: &'static str,
    /// The cause, without the path.
    pub source: io::Error,
}

impl Error {
    /// Returns a function for `map_err` that adds the path and the action to an error.
    ///
    /// ```
    /// use atomic_file::Error;
    ///
    /// let path = "absent/folder".as_ref();
    /// let error = std::fs::read_dir(path).map_err(Error::new(path, "read")).unwrap_err();
    /// assert!(error.to_string().starts_with("cannot read absent/folder: "));
    /// ```
    pub fn new(path: &Path, action: &'static str) -> impl Fn(io::Error) -> Self + Copy {
        move |source| Self { path: path.to_owned(), action, source }
    }

    /// Returns the kind of the cause.
    pub fn kind(&self) -> ErrorKind {
        self.source.kind()
    }
}

impl Display for Error {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {} {}: {}", self.action, self.path.display(), self.source)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Returns the cause. The path is lost, so only code that adds the path again should use this.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        error.source
    }
}
