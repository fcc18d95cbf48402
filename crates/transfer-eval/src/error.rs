//! The errors of this crate; each message says what to do.
use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A file could not be written; `path` is left as it was.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A line breaks a rule of its file's format.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong and what was expected.
        message: String,
    },
    /// A file breaks a rule of its format that concerns more than one line.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
    },
    /// A prediction does not match its gold item.
    #[error("{what} {index}{}: {message}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Mismatch {
        /// What is counted: `sentence`, `example`, `cloze`, `query`.
        what: &'static str,
        /// Which one, from 1.
        index: usize,
        /// Its first line in the gold file, if it came from one.
        line: Option<usize>,
        /// What is wrong.
        message: String,
    },
    /// Counts of gold items and predictions differ.
    #[error("{got} predictions for {expected} {what}; {hint}")]
    Count {
        /// What is counted, in the plural.
        what: &'static str,
        /// Gold items.
        expected: usize,
        /// Predictions.
        got: usize,
        /// The position of the first item without a partner.
        hint: String,
    },
    /// An array does not have the shape or the values that are needed.
    #[error("{name}: {message}")]
    Array {
        /// The argument.
        name: &'static str,
        /// What is wrong.
        message: String,
    },
    /// A configured value is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// What is allowed.
        rule: String,
    },
    /// A tokenizer could not be used.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// There is nothing to score.
    #[error("no {what}, so there is no score")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
    /// A candidate list cannot be built or does not fit its queries.
    #[error("candidate list: {0}")]
    Candidates(String),
}

impl Error {
    /// A file that cannot be read.
    pub(crate) fn read(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        move |source| Self::Read { path: path.to_path_buf(), source }
    }

    /// A file that cannot be written.
    pub(crate) fn write(path: &Path) -> impl Fn(io::Error) -> Self + Copy + '_ {
        move |source| Self::Write { path: path.to_path_buf(), source }
    }

    /// A value that is out of its range.
    pub(crate) fn config(key: &'static str, value: impl Display, rule: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), rule: rule.into() }
    }

    pub(crate) fn line(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self::Line { path: path.to_path_buf(), line, message: message.into() }
    }

    pub(crate) fn content(path: &Path, message: impl Into<String>) -> Self {
        Self::Content { path: path.to_path_buf(), message: message.into() }
    }

    /// What is wrong with the item at `index`, from 0.
    pub(crate) fn mismatch(
        what: &'static str,
        index: usize,
        line: Option<usize>,
        message: impl Into<String>,
    ) -> Self {
        Self::Mismatch { what, index: index + 1, line, message: message.into() }
    }

    pub(crate) fn array(name: &'static str, message: impl Into<String>) -> Self {
        Self::Array { name, message: message.into() }
    }
}

/// Refuses predictions that are not as many as what they are for.
///
/// # Errors
/// [`Error::Count`] that names the first one without a partner, with what `name` says of it.
pub(crate) fn check_counts(
    (one, what): (&str, &'static str),
    expected: usize,
    got: usize,
    name: impl FnOnce(usize) -> Option<String>,
) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let name = name(got).map_or(String::new(), |name| format!(" ({name})"));
    let hint = format!("{one} {}{name} has no partner", expected.min(got) + 1);
    Err(Error::Count { what, expected, got, hint })
}
