//! Tab-separated files: one header, one row per line, no quoting (a quote is an ordinary character), exact line numbers.
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::KgError;

pub(crate) struct TsvReader {
    path: PathBuf,
    input: BufReader<File>,
    columns: &'static [&'static str],
    comments: bool,
    buffer: Vec<u8>,
    line: u64,
}

impl TsvReader {
    /// Opens `path` and reads its header, which must be one of `headers`; returns its index too.
    /// With `comments`, lines that begin with `#` are skipped, before the header as well.
    pub(crate) fn open(
        path: &Path,
        headers: &[&'static [&'static str]],
        comments: bool,
    ) -> Result<(Self, usize), KgError> {
        let file = File::open(path).map_err(KgError::io(path, "read the file"))?;
        let input = BufReader::with_capacity(1 << 16, file);
        let path = path.to_owned();
        let mut reader = Self { path, input, columns: &[], comments, buffer: Vec::new(), line: 0 };
        let found = reader.advance()?;
        let bytes = reader.buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&reader.buffer);
        let text = String::from_utf8_lossy(bytes);
        let header = |columns: &&[&str]| found && text.split('\t').eq(columns.iter().copied());
        match headers.iter().position(header) {
            Some(which) => {
                reader.columns = headers.get(which).copied().unwrap_or_default();
                Ok((reader, which))
            }
            None => Err(KgError::Header {
                line: reader.line.max(1),
                expected: headers
                    .iter()
                    .map(|columns| format!("{:?}", columns.join("\t")))
                    .collect::<Vec<_>>()
                    .join(" or "),
                got: if found { format!("{text:?}") } else { "an empty file".into() },
                path: reader.path,
            }),
        }
    }

    /// The cells of the next row, as many as the header has; empty lines are skipped.
    pub(crate) fn row(&mut self) -> Result<Option<Vec<&str>>, KgError> {
        if !self.advance()? {
            return Ok(None);
        }
        let cells: Vec<&[u8]> = self.buffer.split(|byte| *byte == b'\t').collect();
        if cells.len() != self.columns.len() {
            let expected = format!("{} ({})", self.columns.len(), self.columns.join(", "));
            return Err(self.fault("columns", expected, cells.len().to_string()));
        }
        let mut row = Vec::with_capacity(cells.len());
        for (cell, column) in cells.into_iter().zip(self.columns) {
            match std::str::from_utf8(cell) {
                Ok(text) => row.push(text),
                Err(error) => {
                    let got = format!("a bad byte at position {} of the cell", error.valid_up_to());
                    return Err(self.fault(column, "valid UTF-8".into(), got));
                }
            }
        }
        Ok(Some(row))
    }

    /// Where the last row stands, for errors found by the caller.
    pub(crate) fn place(&self) -> (PathBuf, u64) {
        (self.path.clone(), self.line)
    }

    fn fault(&self, column: &'static str, expected: String, got: String) -> KgError {
        KgError::Row { path: self.path.clone(), line: self.line, column, expected, got }
    }

    /// Reads the next line that is neither empty nor a comment into `buffer`, without its line end; `false` at the end.
    fn advance(&mut self) -> Result<bool, KgError> {
        loop {
            self.buffer.clear();
            let read = self.input.read_until(b'\n', &mut self.buffer);
            if read.map_err(KgError::io(&self.path, "read the file"))? == 0 {
                return Ok(false);
            }
            self.line += 1;
            if self.buffer.last() == Some(&b'\n') {
                self.buffer.pop();
                if self.buffer.last() == Some(&b'\r') {
                    self.buffer.pop();
                }
            }
            let comment = self.comments && self.buffer.first() == Some(&b'#');
            if !self.buffer.is_empty() && !comment {
                return Ok(true);
            }
        }
    }
}
