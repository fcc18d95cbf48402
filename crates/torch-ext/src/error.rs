//! The crate's error.

/// What went wrong in libtorch or in a call to it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// libtorch refused a call; its own message.
    #[error("libtorch: {0}")]
    Libtorch(String),
    /// Lists that must have one entry per parameter have different lengths.
    #[error("{list}: {got} entries for {expected} parameters")]
    ListLength {
        /// The list's name.
        list: &'static str,
        /// The number of parameters.
        expected: usize,
        /// The number of entries that came.
        got: usize,
    },
    /// A CUDA device was asked for and cannot be used.
    #[error("device {asked}: {reason}")]
    Device {
        /// What was asked for.
        asked: String,
        /// Why it cannot be had, and what to do.
        reason: String,
    },
    /// A tensor file cannot be read or written.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it, naming the tensor where one is at fault.
        reason: String,
    },
    /// A tensor operation failed.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
}

/// The crate's result.
pub type Result<T> = std::result::Result<T, Error>;
