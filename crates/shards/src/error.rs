//! The crate's error.
use std::path::PathBuf;

/// What is wrong with files of examples, or with how they are to be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting cannot be used.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The setting's name.
        key: String,
        /// Its value.
        value: String,
        /// What it must be.
        rule: String,
    },
    /// A file or folder cannot be read.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do where that is known.
        reason: String,
    },
    /// What decides the examples cannot be hashed.
    #[error("fingerprint, field {field}: {reason}")]
    Fingerprint {
        /// The field.
        field: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
