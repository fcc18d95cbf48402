//! Errors of this crate.
use std::path::PathBuf;

/// An error in files of examples or in the options for reading them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option has an invalid value.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The name of the option.
        key: String,
        /// The value of the option.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// A file or folder is invalid or cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The cause and, if known, a fix.
        reason: String,
    },
    /// A field of a fingerprint cannot be hashed.
    #[error("fingerprint, field {field}: {reason}")]
    Fingerprint {
        /// The name of the field.
        field: String,
        /// The cause.
        reason: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}

impl From<atomic_file::Error> for Error {
    fn from(error: atomic_file::Error) -> Self {
        Self::file(error.path, error.source)
    }
}

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;
