//! The crate's error.
use std::path::PathBuf;

use objectives::masking::MaskingError;

/// What goes wrong between data, task and predictor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An option is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key as a recipe names it, such as `qa.embedding_noise`.
        key: String,
        /// What was given.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// An example, or a value that belongs to one, does not fit.
    #[error("{what}: expected {expected}, got {got}")]
    Data {
        /// Which example, tensor or value, such as `question 5733be28`.
        what: String,
        /// What was expected.
        expected: String,
        /// What came.
        got: String,
    },
    /// There is nothing to train on or to ask.
    #[error("no {what}")]
    Empty {
        /// What is missing, and where.
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
    /// A question file, window or score.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
    /// Knowledge, its text or its splits.
    #[error(transparent)]
    Knowledge(#[from] kg_triples::Error),
    /// A loss.
    #[error(transparent)]
    Loss(#[from] objectives::Error),
    /// A mask.
    #[error(transparent)]
    Masking(#[from] objectives::masking::MaskingError),
    /// The model.
    #[error(transparent)]
    Model(#[from] xlmr_model::Error),
    /// Files of examples cannot be streamed.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// Training.
    #[error(transparent)]
    Train(#[from] trainer::Error),
    /// An evaluation of named entities, inference, clozes or retrieval.
    #[error(transparent)]
    Transfer(#[from] transfer_eval::Error),
    /// Translated or projected questions.
    #[error(transparent)]
    Translate(#[from] qa_translate::Error),
    /// A tensor file, or a device.
    #[error(transparent)]
    TorchExt(#[from] torch_ext::Error),
    /// A tensor operation failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
    /// A task's error on its way through the trainer.
    #[error(transparent)]
    Other(#[from] trainer::TaskError),
}

/// The crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<Error> for qa_translate::Error {
    /// For ways to place spans and scorers that read a model.
    fn from(error: Error) -> Self {
        match error {
            Error::Translate(error) => error,
            error => Self::Model(Box::new(error)),
        }
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

    /// The loss's error, with an option out of range as a key of `section`.
    pub(crate) fn of_option(section: &str, error: objectives::Error) -> Self {
        match error {
            objectives::Error::Domain { option, value, rule } => {
                Self::config(format!("{section}.{option}"), value, rule)
            }
            error => error.into(),
        }
    }

    /// The policy's error, likewise.
    pub(crate) fn of_masking(section: &str, error: MaskingError) -> Self {
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
