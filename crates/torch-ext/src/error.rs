//! The crate's error.
use std::path::{Path, PathBuf};

/// What went wrong in libtorch or in a call to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libtorch refused a call; its own message.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// Lists that must have one entry per parameter have different lengths.
    #[error("{list}: {got} entries for {expected} parameters")]
    ListLength {
        /// The list's name.
        list: &'static str,
        /// The number of parameters.
        expected: usize,
        /// The number of entries that came.
        got: usize,
    },
    /// A CUDA device was requested and cannot be used.
    #[error("device {choice}: {reason}")]
    Device {
        /// The device that was requested.
        choice: String,
        /// Why it cannot be had, and what to do.
        reason: String,
    },
    /// A tensor file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is no safetensors file, or not a whole one.
    #[error("{}: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A tensor is not in the file, or the file's format or libtorch cannot hold it.
    #[error("{}: tensor {tensor}: expected {expected}, got {got}", path.display())]
    Stored {
        /// The file.
        path: PathBuf,
        /// The tensor as the file calls it.
        tensor: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// Processes that compute together did not meet, or lost one another.
    #[error("{0}")]
    Distributed(String),
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;

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
