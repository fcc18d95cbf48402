use std::io;
use std::path::{Path, PathBuf};

use atomic_file::PublishError;
use mlqa_eval::Language;

/// Everything that can go wrong here. A text that cannot be aligned is no error: it is counted in a
/// report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What was tried, as in "read the file".
        action: &'static str,
        /// The operating system's reason.
        source: io::Error,
    },
    /// A line of a JSONL file does not hold a translation.
    #[error("{}:{line}: expected {{\"from\": \"en\", \"to\": \"de\", \"source\": \"…\", \"target\": \"…\"}}, got {got}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        got: String,
    },
    /// A file of translations lacks a text.
    #[error("{}: no translation from {from} to {to} of {text:?}; add it, or let missing texts count as untranslated", path.display())]
    Untranslated {
        /// The file.
        path: PathBuf,
        /// The text's language.
        from: Language,
        /// The language it was wanted in.
        to: Language,
        /// The text, at most 80 code points of it.
        text: String,
    },
    /// A line of a JSONL file does not hold a score.
    #[error("{}:{line}: expected {{\"from\": \"en\", \"to\": \"de\", \"source\": \"…\", \"target\": \"…\", \"total\": -3.2}}, got {got}", path.display())]
    Score {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        got: String,
    },
    /// A file of scores lacks some.
    #[error("{} lacks {count} scores, listed in {}; score these texts, add them and run again", path.display(), wanted.display())]
    Unscored {
        /// The file.
        path: PathBuf,
        /// How many are missing.
        count: usize,
        /// Where they are listed.
        wanted: PathBuf,
    },
    /// Texts that a scorer does not take.
    #[error(
        "{count} of {of} pairs of texts are too long to be scored: up to {longest} tokens together, at most {most} are taken"
    )]
    TooLong {
        /// Requests that are too long.
        count: usize,
        /// All requests.
        of: usize,
        /// Tokens of the longest one, both texts together.
        longest: usize,
        /// Most tokens.
        most: usize,
    },
    /// A model that scores or aligns texts.
    #[error(transparent)]
    Model(Box<dyn std::error::Error + Send + Sync>),
    /// A translation server could not be reached or did not give translations.
    #[error("{url}: {problem} (tried {attempts} times)")]
    Server {
        /// The address that was called.
        url: String,
        /// What it answered or what failed.
        problem: String,
        /// Requests sent for this batch.
        attempts: u32,
    },
    /// A translator returned another number of texts than it was given.
    #[error("the translator returned {got} texts for {expected}; it must return one for each")]
    Count {
        /// Texts given.
        expected: usize,
        /// Texts returned.
        got: usize,
    },
    /// An answer that is not in its passage where its offset says.
    #[error(
        "the answer at code points {start}..{end} is outside a passage of {length}, or blank there"
    )]
    Span {
        /// First code point of the answer.
        start: usize,
        /// One past its last.
        end: usize,
        /// Code points of the passage.
        length: usize,
    },
    /// Spans that cannot be marked in one text.
    #[error("the spans {first:?} and {second:?} overlap; mark each in a text of its own")]
    Overlap {
        /// In code points.
        first: std::ops::Range<usize>,
        /// The one that begins inside it.
        second: std::ops::Range<usize>,
    },
    /// A similarity matrix or a span in it that cannot be projected.
    #[error("{what}: expected {expected}, got {got}")]
    Projection {
        /// `similarity` or `span`.
        what: &'static str,
        /// What it has to be.
        expected: String,
        /// What it is.
        got: String,
    },
    /// A configuration value out of its range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The key of the configuration.
        key: &'static str,
        /// Its value.
        value: String,
        /// What it has to be.
        rule: &'static str,
    },
    /// Languages that do not fit together, as the same one twice.
    #[error("language {language}: {problem}")]
    Language {
        /// The language.
        language: Language,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Nothing is left to write.
    #[error("nothing is left: {hint}")]
    Empty {
        /// What to look at.
        hint: String,
    },
    /// Question files.
    #[error(transparent)]
    Eval(#[from] mlqa_eval::Error),
    /// A prepared folder cannot be written.
    #[error(transparent)]
    Prepared(#[from] shards::Error),
}

impl Error {
    /// A [`Error::Io`] for `path`, ready for `map_err`.
    pub fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }
}

impl From<PublishError> for Error {
    fn from(PublishError { path, source }: PublishError) -> Self {
        Self::Io { path, action: "write the file", source }
    }
}

/// Creates the folder that `path` is to lie in.
pub(crate) fn create_folder_of(path: &Path) -> Result<(), Error> {
    let Some(folder) = path.parent() else { return Ok(()) };
    std::fs::create_dir_all(folder).map_err(Error::io(folder, "create the folder"))
}
