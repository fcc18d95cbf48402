//! Text files line by line, gzip-compressed where the path ends in `.gz`, with exact line numbers.
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::KgError;

pub(crate) struct Lines {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    buffer: Vec<u8>,
    line: u64,
}

impl Lines {
    pub(crate) fn open(path: &Path) -> Result<Self, KgError> {
        let file = File::open(path).map_err(KgError::io(path, "read the file"))?;
        let file: Box<dyn Read + Send> =
            if compressed(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let input = Box::new(BufReader::with_capacity(1 << 16, file));
        Ok(Self { path: path.to_owned(), input, buffer: Vec::new(), line: 0 })
    }

    /// Goes to the next line; `false` at the end.
    pub(crate) fn advance(&mut self) -> Result<bool, KgError> {
        self.buffer.clear();
        match self.input.read_until(b'\n', &mut self.buffer) {
            Ok(0) => return Ok(false),
            Ok(_) => self.line += 1,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && compressed(&self.path) => {
                return Err(KgError::Truncated { path: self.path.clone(), line: self.line });
            }
            Err(error) => return Err(KgError::io(&self.path, "read the file")(error)),
        }
        if self.buffer.last() == Some(&b'\n') {
            self.buffer.pop();
            if self.buffer.last() == Some(&b'\r') {
                self.buffer.pop();
            }
        }
        Ok(true)
    }

    /// The line, without its end.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The line's number, from 1.
    pub(crate) fn number(&self) -> u64 {
        self.line
    }
}

pub(crate) fn compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}
