//! Errors of this crate.
use std::path::{Path, PathBuf};

/// An error of libtorch or of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An error message of libtorch, or of a check of arguments before a call to libtorch.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// The number of entries of a list differs from the expected number.
    #[error("{list}: expected {expected} entries, got {got}")]
    ListLength {
        /// The list's name.
        list: &'static str,
        /// The expected number of entries.
        expected: usize,
        /// The actual number of entries.
        got: usize,
    },
    /// A requested device is unknown or cannot be used.
    #[error("device {choice}: {reason}")]
    Device {
        /// The requested device.
        choice: String,
        /// The reason, and a fix if one is known.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not a safetensors file, or is truncated.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// A tensor cannot be read from a file or stored in it, for example because its dtype is not
    /// supported or no tensor has this name.
    #[error("{}: tensor {tensor}: expected {expected}, got {got}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// The settings of a process group are invalid, or its processes could not connect or lost
    /// their connection.
    #[error("{0}")]
    Distributed(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<atomic_file::Error> for Error {
    fn from(atomic_file::Error { path, source, .. }: atomic_file::Error) -> Self {
        Self::Io { path, source }
    }
}

impl Error {
    pub(crate) fn io(path: &Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }

    pub(crate) fn stored(
        path: &Path,
        tensor: &str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        let (expected, got) = (expected.into(), got.into());
        Self::Stored { path: path.to_owned(), tensor: tensor.to_owned(), expected, got }
    }
}
