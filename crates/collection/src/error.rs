//! Errors of this crate.
use std::path::{Path, PathBuf};

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of a collection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// A folder is not a collection, or its files cannot be used.
    #[error("{}: {problem}", path.display())]
    Folder {
        /// The collection's folder or a file in it.
        path: PathBuf,
        /// The cause and, if known, a fix.
        problem: String,
    },
    /// Another process or thread writes to the collection.
    #[error("{}: another writer is open; wait until it ends", path.display())]
    Busy {
        /// The collection's folder.
        path: PathBuf,
    },
    /// A collection without documents was searched.
    #[error("{}: the collection has no documents; add documents first", path.display())]
    Empty {
        /// The collection's folder.
        path: PathBuf,
    },
    /// A document cannot be added or removed.
    #[error("document {id:?}: {problem}")]
    Document {
        /// Id of the document.
        id: String,
        /// The cause and, if known, a fix.
        problem: String,
    },
    /// Vectors do not fit the collection's encoder.
    #[error("{problem}")]
    Vectors {
        /// What was expected and what was found.
        problem: String,
    },
}

impl Error {
    pub(crate) fn folder(path: impl AsRef<Path>, problem: impl std::fmt::Display) -> Self {
        Self::Folder { path: path.as_ref().to_owned(), problem: problem.to_string() }
    }

    pub(crate) fn document(id: &str, problem: impl std::fmt::Display) -> Self {
        // A long id would hide the problem.
        Self::Document { id: id.chars().take(200).collect(), problem: problem.to_string() }
    }

    pub(crate) fn vectors(problem: impl Into<String>) -> Self {
        Self::Vectors { problem: problem.into() }
    }
}
