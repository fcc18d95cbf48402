use std::io;
use std::path::PathBuf;

pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error that prevents the resolution of a model to a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The given model is neither a folder nor a repository name.
    #[error("model {model:?}: {rule}")]
    Name {
        /// The given name.
        model: String,
        /// The problem and the expected form.
        rule: &'static str,
    },
    /// An environment variable has an invalid value.
    #[error("{variable}: {rule}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// The expected value.
        rule: String,
    },
    /// A file or folder of the cache cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed action, such as "read the file".
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The cache lacks the model and downloads are disabled, or the repository lacks a file that a
    /// model needs.
    #[error("{repository}: {reason}")]
    Missing {
        /// The repository.
        repository: String,
        /// The missing file and how to obtain it.
        reason: String,
    },
    /// The server returned an error status.
    #[error("{repository}, {file}: the server returned status {status}; {advice}")]
    Status {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// The HTTP status code.
        status: u16,
        /// What to do.
        advice: String,
    },
    /// The server cannot be reached, or the connection was closed. Downloaded bytes are kept for
    /// the next attempt.
    #[error(
        "{repository}, {file}: {problem}; check the connection and run the command again to \
         resume the download"
    )]
    Network {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// What failed.
        problem: String,
    },
    /// A response is malformed, or the content of a file does not match its digest. The downloaded
    /// part of the file is deleted.
    #[error("{repository}, {file}: {reason}")]
    Response {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// The expected and the received content.
        reason: String,
    },
}

impl Error {
    /// Returns a function for `map_err` that adds the path and the failed action.
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}
