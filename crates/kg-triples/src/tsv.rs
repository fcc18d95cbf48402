//! Reading of tab-separated files. The first line is the header, and each further line is a row.
//! Quotes are ordinary characters.
use std::path::{Path, PathBuf};

use crate::Error;
use crate::input::Lines;

pub(crate) struct TsvReader {
    lines: Lines,
    columns: &'static [&'static str],
}

impl TsvReader {
    /// Opens `path` and reads its header, which must be one of `headers`. Returns the reader and
    /// the index of the header in `headers`.
    pub(crate) fn open(
        path: &Path,
        headers: &[&'static [&'static str]],
    ) -> Result<(Self, usize), Error> {
        let mut reader = Self { lines: Lines::open(path)?.note_missing_newline(), columns: &[] };
        let has_header = reader.advance()?;
        let text = String::from_utf8_lossy(reader.lines.bytes());
        let header = |columns: &&[&str]| has_header && text.split('\t').eq(columns.iter().copied());
        match headers.iter().position(header) {
            Some(header_index) => {
                reader.columns = headers[header_index];
                Ok((reader, header_index))
            }
            None => Err(Error::Header {
                line: reader.lines.number().max(1),
                expected: headers
                    .iter()
                    .map(|columns| format!("{:?}", columns.join("\t")))
                    .collect::<Vec<_>>()
                    .join(" or "),
                got: if has_header { format!("{text:?}") } else { "an empty file".into() },
                path: path.to_owned(),
            }),
        }
    }

    /// Returns the cells of the next row, one per column of the header; blank lines are skipped.
    pub(crate) fn row(&mut self) -> Result<Option<Vec<&str>>, Error> {
        if !self.advance()? {
            return Ok(None);
        }
        let cells: Vec<&[u8]> = self.lines.bytes().split(|byte| *byte == b'\t').collect();
        if cells.len() != self.columns.len() {
            let expected = format!("{} ({})", self.columns.len(), self.columns.join(", "));
            return Err(self.row_error("columns", expected, cells.len().to_string()));
        }
        let mut row = Vec::with_capacity(cells.len());
        for (cell, column) in cells.into_iter().zip(self.columns) {
            match std::str::from_utf8(cell) {
                Ok(text) => row.push(text),
                Err(error) => {
                    let got = format!("a bad byte at position {} of the cell", error.valid_up_to());
                    return Err(self.row_error(column, "valid UTF-8".into(), got));
                }
            }
        }
        Ok(Some(row))
    }

    /// Returns the file and the line of the last row, which the caller can add to errors.
    pub(crate) fn position(&self) -> (PathBuf, u64) {
        (self.lines.path().to_owned(), self.lines.number())
    }

    fn row_error(&self, column: &'static str, expected: String, got: String) -> Error {
        let (path, line) = self.position();
        Error::Row { path, line, column, expected, got }
    }

    /// Advances to the next non-blank line; returns `false` at the end of the file.
    fn advance(&mut self) -> Result<bool, Error> {
        while self.lines.advance()? {
            if self.lines.bytes().iter().any(|&byte| byte != b' ') {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
