//! The errors of this crate. Each message names the problem and, where possible, a fix.
use std::fmt::Display;
use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Every error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written; an existing file is unchanged.
    #[error(transparent)]
    File(#[from] atomic_file::Error),
    /// A line is invalid in the format of its file.
    #[error("{}:{line}: {message}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The problem and the expected value.
        message: String,
    },
    /// A file is invalid for a reason that concerns several lines.
    #[error("{}: {message}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The problem and how to fix it.
        message: String,
    },
    /// A prediction does not match its gold item.
    #[error("{what} {index}{}: {message}", line.map_or(String::new(), |line| format!(" (line {line})")))]
    Mismatch {
        /// The kind of item: `sentence`, `example`, `cloze`, `query`.
        what: &'static str,
        /// Number of the item, from 1.
        index: usize,
        /// Number of the item's first line in the gold file; `None` if the item was not read from a
        /// file.
        line: Option<usize>,
        /// The problem.
        message: String,
    },
    /// The numbers of gold items and predictions differ.
    #[error("{got} predictions for {expected} {what}; {hint}")]
    Count {
        /// The kind of item, in the plural.
        what: &'static str,
        /// Number of gold items.
        expected: usize,
        /// Number of predictions.
        got: usize,
        /// A hint with the position of the first unmatched item.
        hint: String,
    },
    /// An array has a wrong shape or invalid values.
    #[error("{name}: {message}")]
    Array {
        /// The argument.
        name: &'static str,
        /// The problem.
        message: String,
    },
    /// A configured value is out of range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The allowed values.
        rule: String,
    },
    /// A tokenizer is not supported, or failed.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// There is nothing to score.
    #[error("no {what}, so there is no score")]
    Nothing {
        /// The missing items.
        what: &'static str,
    },
    /// A candidate list cannot be drawn for the queries.
    #[error("candidate list: {0}")]
    Candidates(String),
}

impl Error {
    /// Creates an error for a value out of its range.
    pub(crate) fn config(key: &'static str, value: impl Display, rule: impl Into<String>) -> Self {
        Self::Config { key, value: value.to_string(), rule: rule.into() }
    }

    pub(crate) fn line(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self::Line { path: path.to_path_buf(), line, message: message.into() }
    }

    pub(crate) fn content(path: &Path, message: impl Into<String>) -> Self {
        Self::Content { path: path.to_path_buf(), message: message.into() }
    }

    /// Creates an error for the item at the zero-based `index`.
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

/// Rejects predictions whose number differs from the number of gold items.
///
/// # Errors
/// [`Error::Count`] with the first unmatched item, which `describe` converts to text.
pub(crate) fn check_counts(
    (item, what): (&str, &'static str),
    expected: usize,
    got: usize,
    describe: impl FnOnce(usize) -> Option<String>,
) -> Result<()> {
    if expected == got {
        return Ok(());
    }
    let description = describe(got).map_or(String::new(), |text| format!(" ({text})"));
    let hint = format!("{item} {}{description} is unmatched", expected.min(got) + 1);
    Err(Error::Count { what, expected, got, hint })
}
