//! Errors of this crate.
use std::path::{Path, PathBuf};

/// An error that stops a run. Messages name the location, the expected and actual value, and a fix.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A file or folder has invalid contents.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file or folder, with line and column if known.
        path: PathBuf,
        /// Description of the problem and its fix.
        reason: String,
    },
    /// A key of the recipe, or an argument, has an invalid value.
    #[error("{key}: {reason}")]
    Setting {
        /// The key or argument, often with its value.
        key: String,
        /// The reason why the value is invalid.
        reason: String,
    },
    /// The run folder contains results of another recipe or of other input files.
    #[error(
        "{} comes from another recipe or other data: {difference}; undo the change, or give \
         another --out",
        path.display()
    )]
    AnotherRecipe {
        /// The run folder, or a file in it.
        path: PathBuf,
        /// The first key or input file that differs, with both values.
        difference: String,
    },
    /// The recipe's code failed for one trial.
    #[error("{trial}")]
    Trial {
        /// Seed, arm and variant.
        trial: String,
        /// The recipe's error.
        source: anyhow::Error,
    },
    /// The process of one trial failed.
    #[error("{0}")]
    Process(String),
    /// A signal stopped a run whose trials are computed by several processes.
    #[error("{reason}")]
    Stopped {
        /// Number of finished trials, and how to continue.
        reason: String,
        /// The signal's number; programs exit with 128 plus this number.
        signal: i32,
    },
    /// The process of one trial has computed it, so there is nothing to report.
    #[doc(hidden)]
    #[error("this process computes one trial only")]
    TrialComputed,
    /// The recipe's validation of values or inputs failed.
    #[error(transparent)]
    Recipe(#[from] anyhow::Error),
    /// Training failed.
    #[error(transparent)]
    Train(#[from] trainer::Error),
    /// A prepared folder or example file is invalid.
    #[error(transparent)]
    Shards(#[from] shards::Error),
    /// A model cannot be loaded.
    #[error(transparent)]
    Model(#[from] xlmr_model::Error),
    /// The device or the kernels cannot be set up.
    #[error(transparent)]
    TorchExt(#[from] torch_ext::Error),
}

/// Result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl From<atomic_file::Error> for Error {
    fn from(atomic_file::Error { path, source, .. }: atomic_file::Error) -> Self {
        Self::File { path, source }
    }
}

impl Error {
    pub(crate) fn file(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        |source| Self::File { path: path.to_owned(), source }
    }

    pub(crate) fn content(path: impl Into<PathBuf>, reason: impl std::fmt::Display) -> Self {
        Self::Content { path: path.into(), reason: reason.to_string() }
    }

    pub(crate) fn setting(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Setting { key: key.into(), reason: reason.into() }
    }
}

/// An error and its causes on one line, without causes whose text the preceding message already
/// contains.
pub(crate) fn one_line(error: &anyhow::Error) -> String {
    let text = cli::describe(error.as_ref());
    let text = text.split('\n').map(str::trim).filter(|line| !line.is_empty());
    let text = text.collect::<Vec<_>>().join(" ");
    // Removes libtorch's stack trace.
    let text = text.split_once(" frame #0: ").map_or(&*text, |(message, _)| message);
    // Escapes control characters of quoted data.
    let text = atomic_file::one_line(text).into_owned();
    // The process of a trial has added the advice.
    let is_complete = text.ends_with(OUT_OF_MEMORY_ADVICE);
    if !is_complete && OUT_OF_MEMORY.iter().any(|pattern| text.contains(pattern)) {
        return format!("{text} {OUT_OF_MEMORY_ADVICE}");
    }
    text
}

const OUT_OF_MEMORY_ADVICE: &str =
    "(out of memory: lower batch_size or --jobs, or set micro_batch)";

/// Out-of-memory messages of libtorch: from oneDNN, the CPU allocator and the CUDA allocator.
const OUT_OF_MEMORY: [&str; 4] = [
    "could not create a primitive",
    "could not execute a primitive",
    "can't allocate memory",
    "CUDA out of memory",
];

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn causes_are_printed_once_on_one_line() {
        let error = anyhow!("no space").context("a.json: no space").context("saving");
        assert_eq!(one_line(&error), "saving: a.json: no space");
        assert_eq!(one_line(&anyhow!("two\n  lines\n")), "two lines");
        for operation in ["create", "execute"] {
            let message = one_line(&anyhow!("libtorch: could not {operation} a primitive"));
            assert!(message.ends_with(OUT_OF_MEMORY_ADVICE), "{message}");
            assert_eq!(one_line(&anyhow!(message.clone())), message);
        }
        let message = one_line(&anyhow!("can't allocate memory\nframe #0: c10::Error + 0x6a\n"));
        assert_eq!(message, format!("can't allocate memory {OUT_OF_MEMORY_ADVICE}"));
        assert_eq!(one_line(&anyhow!("id `\u{1b}[2J\ta`")), r"id `\u{1b}[2J\ta`");
        let io = std::io::Error::other("full");
        let error = anyhow::Error::from(Error::file(Path::new("x"))(io));
        assert_eq!(one_line(&error), "x: full");
    }
}
