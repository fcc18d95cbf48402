//! Errors of this crate.
use std::fmt::Display;
use std::path::PathBuf;

/// An error while reading, running or writing a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{path}: {source}{hint}", path = path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// How to fix the problem, after a leading `; `; empty if the cause needs no explanation.
        hint: &'static str,
        /// The cause.
        source: std::io::Error,
    },
    /// A JSON file does not parse.
    #[error("{path}: not valid JSON: {source}", path = path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// The cause, with line and column.
        source: serde_json::Error,
    },
    /// A value of the configuration is of the wrong type or out of range.
    #[error("{file}: key `{key}`: expected {expected}, got {got}")]
    Config {
        /// The file, or `config` for a configuration created in memory.
        file: String,
        /// The key of config.json.
        key: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A file is damaged, a weight file or tensor is missing, or the files of a folder belong to
    /// different models.
    #[error("{path}: {reason}", path = path.display())]
    Damaged {
        /// The file or folder.
        path: PathBuf,
        /// The problem and, if known, how to fix it.
        reason: String,
    },
    /// A stored tensor has the wrong shape or dtype.
    #[error("{path}: tensor {tensor}: expected {expected}, got {got}", path = path.display())]
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
    /// An argument is invalid for the model.
    #[error("{argument}: expected {expected}, got {got}")]
    Input {
        /// Name of the argument.
        argument: &'static str,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A required head is missing.
    #[error(
        "the model has no {head} head; include it in `heads` when creating or loading the model"
    )]
    NoHead {
        /// The head.
        head: &'static str,
    },
    /// A model was not trained for the requested use.
    #[error(
        "{path}: has no trained {head} head: {reason}; fine-tune it first, or give a folder whose \
         config.json names {class}"
    , path = path.display())]
    Untrained {
        /// The model folder.
        path: PathBuf,
        /// The head.
        head: &'static str,
        /// The transformers class of a model with this head.
        class: String,
        /// The class that config.json names instead, or the missing weights.
        reason: String,
    },
    /// A tokenizer cannot be read, or does not match the model.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A safetensors file is damaged or cannot be read or written, or the device cannot be used.
    #[error(transparent)]
    TorchExt(#[from] torch_ext::Error),
    /// A tensor operation failed.
    #[error("libtorch: {0}")]
    Torch(#[from] tch::TchError),
}

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl From<atomic_file::Error> for Error {
    fn from(atomic_file::Error { path, source, .. }: atomic_file::Error) -> Self {
        Self::Io { path, hint: "", source }
    }
}

impl Error {
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_owned(), hint: "", source }
    }

    /// Creates an error for an invalid value of the configuration `file`.
    pub(crate) fn config(
        file: &str,
        key: impl Into<String>,
        expected: impl Into<String>,
        got: impl Display,
    ) -> Self {
        let file = file.to_owned();
        Self::Config { file, key: key.into(), expected: expected.into(), got: got.to_string() }
    }

    pub(crate) fn input(
        argument: &'static str,
        expected: impl Into<String>,
        got: impl Into<String>,
    ) -> Self {
        Self::Input { argument, expected: expected.into(), got: got.into() }
    }

    pub(crate) fn damaged(path: &std::path::Path, reason: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.into() }
    }
}
