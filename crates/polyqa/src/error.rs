//! Errors of this crate.
use std::path::{Path, PathBuf};

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error(transparent)]
    Read(#[from] atomic_file::Error),
    /// A file has invalid content.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem, with the line number if a line is invalid.
        problem: String,
    },
    /// The text of a document cannot be extracted.
    #[error(transparent)]
    Document(#[from] documents::Error),
    /// A precision is unknown, or the device does not support it.
    #[error("precision {name:?}: {problem}")]
    Precision {
        /// Name of the precision.
        name: String,
        /// Supported values, or the device that the precision requires.
        problem: String,
    },
    /// No model was given, and there is no default. The message has the reason.
    #[error("{0}")]
    NoModel(String),
    /// A model's name cannot be resolved.
    #[error(transparent)]
    Hub(#[from] model_hub::Error),
    /// A model cannot be loaded or evaluated.
    #[error(transparent)]
    Model(#[from] xlmr_model::Error),
    /// Windows, logits or answers cannot be computed.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),
    /// A collection cannot be read or written.
    #[error(transparent)]
    Collection(#[from] collection::Error),
    /// An error of `mlqa-eval`, such as an invalid question file or window length.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
}

impl Error {
    pub(crate) fn line(path: &Path, line: u64, problem: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), problem: format!("line {line}: {problem}") }
    }
}
