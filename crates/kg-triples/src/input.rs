//! Line-by-line reading of text files, with errors that name the file.
use std::io::ErrorKind;
use std::path::Path;

use crate::Error;

/// Reads lines like [`atomic_file::Lines`], but returns errors of this crate.
pub(crate) struct Lines(atomic_file::Lines);

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        match atomic_file::Lines::open(path) {
            Ok(lines) => Ok(Self(lines)),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
                Err(Error::Truncated { path: path.to_owned(), line: 0 })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Logs a warning ([`atomic_file::note_missing_newline`]) if the last line of the file has
    /// no line end.
    pub(crate) fn note_missing_newline(self) -> Self {
        Self(self.0.note_missing_newline())
    }

    /// Advances to the next line; returns `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, Error> {
        self.0.advance().map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => {
                Error::Truncated { path: self.path().to_owned(), line: self.number() }
            }
            _ => error.into(),
        })
    }

    /// Returns the current line without its line end.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.0.bytes()
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Returns the number of the current line, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.0.number()
    }
}

/// Whether the path ends in `.gz`, which means that the file is written with gzip compression.
pub(crate) fn is_gzip_path(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}
