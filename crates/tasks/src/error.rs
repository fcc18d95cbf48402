//! Errors of this crate.
use std::path::PathBuf;

use objectives::masking::MaskingError;

/// An error of a task or predictor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The recipe's key, such as `qa.embedding_noise`.
        key: String,
        /// The actual value.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// An example or one of its values is invalid.
    #[error("{what}: expected {expected}, got {got}")]
    Data {
        /// The example, tensor or value, such as `question 5733be28`.
        what: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// There are no training examples or queries.
    #[error("no {what}")]
    Empty {
        /// The missing data, such as `pairs to train on`.
        what: String,
    },
    /// A file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        reason: String,
    },
    /// Text cannot be tokenised.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// An error of a question file, window or score.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
    /// An error of knowledge data.
    #[error(transparent)]
    Knowledge(#[from] kg_triples::Error),
    /// An error of a loss.
    #[error(transparent)]
    Loss(#[from] objectives::Error),
    /// An error of a masking policy.
    #[error(transparent)]
    Masking(#[from] objectives::masking::MaskingError),
    /// An error of the model.
    #[error(transparent)]
    Model(#[from] xlmr_model::Error),
    /// An error of example files.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// An error of training.
    #[error(transparent)]
    Train(#[from] trainer::Error),
    /// An error of `transfer-eval`.
    #[error(transparent)]
    Transfer(#[from] transfer_eval::Error),
    /// An error of translated or projected questions.
    #[error(transparent)]
    Translate(#[from] qa_translate::Error),
    /// An error of a tensor file or device.
    #[error(transparent)]
    TorchExt(#[from] torch_ext::Error),
    /// A tensor operation failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A task's error returned by the trainer.
    #[error(transparent)]
    Other(#[from] trainer::TaskError),
}

/// Result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for qa_translate::Error {
    /// Converts errors of span placement and of scorers that use a model.
    fn from(error: Error) -> Self {
        match error {
            Error::Translate(error) => error,
            error => Self::Model(Box::new(error)),
        }
    }
}

impl From<atomic_file::Error> for Error {
    fn from(atomic_file::Error { path, source, .. }: atomic_file::Error) -> Self {
        Self::file(path, source)
    }
}

impl Error {
    pub(crate) fn config(
        key: impl Into<String>,
        value: impl ToString,
        rule: impl Into<String>,
    ) -> Self {
        Self::Config { key: key.into(), value: value.to_string(), rule: rule.into() }
    }

    /// Converts the error of a loss. If an option is out of range, the error names it as a key of
    /// `section`.
    pub(crate) fn from_loss(section: &str, error: objectives::Error) -> Self {
        match error {
            objectives::Error::Domain { option, value, rule } => {
                Self::config(format!("{section}.{option}"), value, rule)
            }
            error => error.into(),
        }
    }

    /// Converts the error of a masking policy. If an option is out of range, the error names it as
    /// a key of `section`.
    pub(crate) fn from_masking(section: &str, error: MaskingError) -> Self {
        match error {
            MaskingError::Domain { option, value, rule } => {
                Self::config(format!("{section}.{option}"), value, rule)
            }
            error => error.into(),
        }
    }

    pub(crate) fn data(
        what: impl Into<String>,
        expected: impl Into<String>,
        got: impl ToString,
    ) -> Self {
        Self::Data { what: what.into(), expected: expected.into(), got: got.to_string() }
    }

    pub(crate) fn empty(what: impl Into<String>) -> Self {
        Self::Empty { what: what.into() }
    }

    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}
