pub(crate) type Result<T> = std::result::Result<T, Error>;

/// An error that prevents the resolution of a model to a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The model is neither a folder nor the name of a repository.
    #[error("model {model:?}: {problem}")]
    Name {
        /// The requested model.
        model: String,
        /// The problem and the expected name.
        problem: &'static str,
    },
    /// An environment variable is not set or has an invalid value.
    #[error("{variable}: {problem}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// The problem or the expected value.
        problem: String,
    },
    /// A file or folder of the cache cannot be read or written.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// The model is not cached and downloads are disabled, or the repository lacks a required file.
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
        /// Advice for the user.
        advice: String,
    },
    /// The server cannot be reached, or the connection was closed. The bytes downloaded so far are
    /// stored for the next attempt.
    #[error(
        "{repository}, {file}: {problem}; check the connection and run the command again to \
         resume the download"
    )]
    Network {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// A description of the problem.
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
        /// A description of the problem, usually with the expected and the received value.
        reason: String,
    },
}
