//! Errors of this crate.
use std::path::PathBuf;

/// An error that stops a training run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An invalid setting.
    #[error("{key} = {value}: {rule}")]
    Config {
        /// The setting's name.
        key: String,
        /// The invalid value.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// There are no training examples.
    #[error("{stage}: no examples")]
    NoExamples {
        /// Name of the stage.
        stage: String,
    },
    /// A loss or a gradient is infinite or NaN.
    #[error(
        "{stage}, step {step}: {what} is {value}, with examples {examples}; {batch}; the last \
         checkpoint is unchanged (lower the learning rate, or inspect these examples)"
    )]
    NotFinite {
        /// Name of the stage.
        stage: String,
        /// The step, counted from 0.
        step: u64,
        /// Name of the non-finite loss or norm, and the first parameters with non-finite gradients.
        what: String,
        /// The non-finite value.
        value: f64,
        /// The first examples of the step: their ids, or their indices in the task.
        examples: String,
        /// The path of `not-finite.json`, which contains the examples, or the reason why it could
        /// not be written.
        batch: String,
    },
    /// The norm of a parameter is not finite after an update.
    #[error(
        "{stage}, step {step}: after the update, the norm of {parameter} is not finite, so the \
         step is not saved; the last checkpoint is unchanged (lower the learning rate)"
    )]
    Diverged {
        /// Name of the stage.
        stage: String,
        /// The step, counted from 0.
        step: u64,
        /// The first parameter whose norm is not finite.
        parameter: String,
    },
    /// SIGINT or SIGTERM was received; the step was finished and a checkpoint written.
    #[error(
        "{stage}: stopped by {} after step {step} of {total}, which is saved; run the same \
         command to continue",
        signal_name(*signal)
    )]
    Stopped {
        /// Name of the stage.
        stage: String,
        /// Number of completed steps.
        step: u64,
        /// Number of steps in the stage.
        total: u64,
        /// The signal's number; programs exit with 128 plus this number.
        signal: i32,
    },
    /// SIGINT and SIGTERM cannot be caught.
    #[error("signals cannot be caught: {reason}")]
    Signals {
        /// The operating system's error message.
        reason: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// Path of the file or folder.
        path: PathBuf,
        /// The cause and, if known, a fix.
        reason: String,
    },
    /// The newest checkpoint cannot be loaded.
    #[error("{reason}; to continue from {earlier}, delete {}", folder.display())]
    Checkpoint {
        /// Folder of the checkpoint.
        folder: PathBuf,
        /// The file or tensor, and the cause.
        reason: String,
        /// The position from which training continues if this checkpoint is deleted.
        earlier: String,
    },
    /// Examples cannot be streamed or hashed.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// The task failed to compute losses, to evaluate the model, or to end an epoch.
    #[error("{stage}, step {step}: {}", error_text(cause.as_ref()))]
    Task {
        /// Name of the stage.
        stage: String,
        /// The step, counted from 0.
        step: u64,
        /// The task's error. The message contains this error and its causes, so it is not a
        /// `source`.
        cause: crate::TaskError,
    },
    /// The best epoch cannot be selected.
    #[error("best epoch: {what}: expected {expected}, got {got}")]
    Selection {
        /// The invalid value: the names of scores, a stored tensor or the number of epochs.
        what: String,
        /// The expected value.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A libtorch extension failed.
    #[error(transparent)]
    TorchExt(torch_ext::Error),
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

impl Error {
    pub(crate) fn file(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::File { path: path.into(), reason: reason.to_string() }
    }
}

impl From<atomic_file::Error> for Error {
    fn from(error: atomic_file::Error) -> Self {
        Self::file(error.path, error.source)
    }
}

impl From<torch_ext::Error> for Error {
    fn from(error: torch_ext::Error) -> Self {
        match error {
            // The message contains the system's error, so this error is not also a cause.
            torch_ext::Error::Io { path, source } => Self::file(path, source),
            error => Self::TorchExt(error),
        }
    }
}

/// Returns the text of an error and its causes, without causes whose text the preceding message
/// already contains.
pub(crate) fn error_text(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut previous = text.clone();
    let mut cause = error.source();
    while let Some(error) = cause {
        let reason = error.to_string();
        if !previous.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        previous = reason;
        cause = error.source();
    }
    text
}

/// Result type of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Returns the name of a signal, such as `SIGTERM` for 15.
fn signal_name(signal: i32) -> String {
    signal_hook::low_level::signal_name(signal)
        .map_or_else(|| format!("signal {signal}"), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct ChainedError {
        text: &'static str,
        source: Option<Box<ChainedError>>,
    }

    fn error_chain(texts: &[&'static str]) -> Option<Box<ChainedError>> {
        let (text, causes) = texts.split_first()?;
        Some(Box::new(ChainedError { text, source: error_chain(causes) }))
    }

    #[test]
    fn causes_are_printed_once() {
        let text = |texts: &[&'static str]| error_text(error_chain(texts).unwrap().as_ref());
        assert_eq!(text(&["a file: no space", "no space"]), "a file: no space");
        assert_eq!(text(&["encoder", "layer 3", "shape"]), "encoder: layer 3: shape");
        assert_eq!(text(&["x: y", "y", "z"]), "x: y: z");
    }

    #[test]
    fn a_missing_tensor_file_is_reported_once() {
        let error = torch_ext::read_tensors("/none/x.safetensors").unwrap_err();
        let error = Error::from(error);
        let text = error_text(&error);
        assert_eq!(text.matches("No such file").count(), 1, "{text}");
        assert!(std::error::Error::source(&error).is_none());
    }
}
