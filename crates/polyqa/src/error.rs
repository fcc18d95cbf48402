//! What stops a reader.
use std::path::{Path, PathBuf};

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// What stops a reader.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{}: {problem}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong, with the line.
        problem: String,
    },
    /// A precision that is unknown or not available.
    #[error("precision {name:?}: {problem}")]
    Precision {
        /// Name of the precision.
        name: String,
        /// Supported values, or what the precision needs.
        problem: String,
    },
    /// A model's name.
    #[error(transparent)]
    Hub(#[from] model_hub::Error),
    /// The model.
    #[error(transparent)]
    Model(#[from] xlmr_model::Error),
    /// Windows, logits or answers.
    #[error(transparent)]
    Tasks(#[from] tasks::Error),
    /// Question files.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
}

impl Error {
    pub(crate) fn read(path: &Path, source: std::io::Error) -> Self {
        Self::Read { path: path.to_owned(), source }
    }

    pub(crate) fn line(path: &Path, line: u64, problem: impl std::fmt::Display) -> Self {
        Self::Content { path: path.to_owned(), problem: format!("line {line}: {problem}") }
    }
}
