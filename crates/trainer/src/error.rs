//! The crate's error.
use std::path::PathBuf;

/// What stops a training run.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
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
    /// There is nothing to train on.
    #[error("{stage}: no examples")]
    NoExamples {
        /// The stage.
        stage: String,
    },
    /// A loss or a gradient became infinite or not a number.
    #[error(
        "{stage}, step {step}: {what} is {value}; the last checkpoint is untouched (lower the learning rate, or look at the data of this step)"
    )]
    NotFinite {
        /// The stage.
        stage: String,
        /// The step, counted from 0.
        step: u64,
        /// The loss or norm at fault.
        what: String,
        /// Its value.
        value: f64,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do where that is known.
        reason: String,
    },
    /// The task could not compute its losses.
    #[error("{stage}, step {step}: {source}")]
    Task {
        /// The stage.
        stage: String,
        /// The step, counted from 0.
        step: u64,
        /// The task's own error.
        source: crate::TaskError,
    },
    /// A libtorch extension failed.
    #[error(transparent)]
    TorchExt(#[from] torch_ext::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

impl TrainError {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, TrainError>;
