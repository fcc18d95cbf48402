use std::io;
use std::path::PathBuf;

/// The reason why a model could not be resolved to a folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The given model is neither a folder nor a repository name.
    #[error("model {model:?}: {rule}")]
    Name {
        /// What was given.
        model: String,
        /// What is wrong with it and what it must be.
        rule: &'static str,
    },
    /// A variable of the environment cannot be used.
    #[error("{variable}: {rule}")]
    Setting {
        /// The variable.
        variable: &'static str,
        /// What it must be.
        rule: String,
    },
    /// A file or folder of the cache cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "read the file".
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The cache lacks the model and nothing may be fetched, or the repository lacks what a model
    /// needs.
    #[error("{repository}: {reason}")]
    Missing {
        /// The repository.
        repository: String,
        /// What is missing, and what to do.
        reason: String,
    },
    /// The server answered with a status that is not success.
    #[error("{repository}, {file}: the server answered with status {status}; {advice}")]
    Refused {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// The HTTP status code.
        status: u16,
        /// What to do.
        advice: String,
    },
    /// The server cannot be reached, or the connection broke off. What came is kept.
    #[error(
        "{repository}, {file}: {problem}; check the connection and run the command again, which \
         goes on where this one stopped"
    )]
    Network {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// What failed.
        problem: String,
    },
    /// An answer is not what it must be, or a file's content not what its digest says. What came of
    /// the file is deleted.
    #[error("{repository}, {file}: {reason}")]
    Answer {
        /// The repository.
        repository: String,
        /// The file, or "the list of files".
        file: String,
        /// What was expected and what came.
        reason: String,
    },
}

impl Error {
    /// For `map_err`.
    pub(crate) fn io(
        path: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, action, source }
    }
}
