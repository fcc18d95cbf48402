//! The error of this crate.
use std::path::PathBuf;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// A document that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read, or is not text although its name says so.
    #[error(transparent)]
    Read(#[from] atomic_file::Error),
    /// The file has no text that can be extracted.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file, or the name of a document in memory.
        path: PathBuf,
        /// The problem, and what to do about it.
        problem: String,
    },
}
