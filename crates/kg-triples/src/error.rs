use std::io;
use std::path::{Path, PathBuf};

use language::{Language, LanguageError};

/// Error type of this crate. A message contains the location, the expected and the actual value,
/// and a fix where they are known.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{}: cannot {action}: {source}{}", path.display(), advice(path, source))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The failed action, such as "read the file".
        action: &'static str,
        /// The operating system's error.
        source: io::Error,
    },
    /// The first line of a TSV file is not the expected header.
    #[error(
        "{}:{line}: expected the tab-separated header {expected}, got {got}; add the header line \
         or fix its columns",
        path.display()
    )]
    Header {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The supported headers.
        expected: String,
        /// The actual line.
        got: String,
    },
    /// A cell of a TSV file is invalid, or a row has a wrong number of cells.
    #[error("{}:{line}: {column}: expected {expected}, got {got}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// Name of the column, or "columns" if the row has a wrong number of cells.
        column: &'static str,
        /// The required value.
        expected: String,
        /// The actual text.
        got: String,
    },
    /// A value is invalid, such as an id of [`GraphBuilder`](crate::GraphBuilder) or a language
    /// code.
    #[error("{field}: expected {expected}, got {got}")]
    Value {
        /// Name of the value.
        field: &'static str,
        /// The rule that it violates.
        expected: String,
        /// The actual value.
        got: String,
    },
    /// A language has no labels in the graph.
    #[error(
        "language {language:?} has no label in this knowledge graph; languages with labels: \
         {available}"
    )]
    UnknownLanguage {
        /// The requested language.
        language: String,
        /// The available languages.
        available: String,
    },
    /// The output would contain no data.
    #[error("{what}: no data; {hint}")]
    Empty {
        /// The empty output.
        what: String,
        /// A hint about the cause or a fix.
        hint: String,
    },
    /// A configuration value is out of its range.
    #[error("{key} = {value}: must be {rule}")]
    Config {
        /// The configuration key.
        key: &'static str,
        /// Its value.
        value: String,
        /// The rule that it violates.
        rule: &'static str,
    },
    /// A tokenizer cannot be loaded, fails on a text, or lacks a special token.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A line of a JSONL file is not the expected object.
    #[error("{}:{line}: expected one {what} as a JSON object, got {got}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, from 1.
        line: u64,
        /// The expected object.
        what: &'static str,
        /// The reason why the line is invalid.
        got: String,
    },
    /// A Wikidata dump is truncated or has too many invalid lines, or its output folder cannot be
    /// used.
    #[error("{}: {reason}", path.display())]
    Dump {
        /// The dump or the state folder of the extract.
        path: PathBuf,
        /// The reason why the dump or folder cannot be used.
        reason: String,
    },
    /// A prepared folder cannot be read or written.
    #[error(transparent)]
    Prepared(#[from] shards::Error),
    /// A compressed file is truncated.
    #[error(
        "{}: the gzip data ends early, after line {line}; the file is incomplete, create or copy \
         it again",
        path.display()
    )]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Number of complete lines before the end.
        line: u64,
    },
}

impl Error {
    /// Returns a function for `map_err` that creates an [`Error::Io`] for `path`.
    pub(crate) fn io(path: &Path, action: &'static str) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { path, action, source }
    }

    /// Creates an [`Error::UnknownLanguage`] that lists the available `languages`.
    pub(crate) fn unknown_language(language: &str, languages: &[Language]) -> Self {
        let codes = languages.iter().map(Language::as_str).collect::<Vec<_>>().join(", ");
        let available = if languages.is_empty() { "none".into() } else { codes };
        Self::UnknownLanguage { language: language.into(), available }
    }
}

impl From<atomic_file::Error> for Error {
    fn from(atomic_file::Error { path, action, source }: atomic_file::Error) -> Self {
        let action = match action {
            "read" => "read the file",
            "write" => "write the file",
            "lock" => "lock the file",
            other => other,
        };
        Self::Io { path, action, source }
    }
}

impl From<LanguageError> for Error {
    fn from(LanguageError { code }: LanguageError) -> Self {
        let (expected, got) = (LanguageError::EXPECTED.to_owned(), format!("{code:?}"));
        Self::Value { field: "language", expected, got }
    }
}

fn advice(path: &Path, source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::NotFound if path.extension().is_some() => "; check the path",
        io::ErrorKind::NotFound => "; check the path of the folder",
        io::ErrorKind::PermissionDenied => "; check the permissions",
        io::ErrorKind::NotADirectory => "; a part of this path is a file, not a folder",
        io::ErrorKind::StorageFull => "; free some space",
        _ => "",
    }
}
