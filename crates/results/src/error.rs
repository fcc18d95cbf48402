//! The errors of this crate. Each message describes the error and, where possible, how to fix it.
use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written; an existing file is unchanged.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// A line is not a valid [`Measured`](crate::Measured) number.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, starting at 1.
        line: u64,
        /// Description of the error, and the expected value.
        message: String,
    },
    /// A published table does not exist, or a run's numbers cannot be added to it.
    #[error("published table `{id}`: {message}")]
    Table {
        /// The id of the table.
        id: String,
        /// Description of the error.
        message: String,
    },
}
