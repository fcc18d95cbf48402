//! Sequences as JSONL: one JSON object per line, gzip-compressed where the path ends in `.gz`.
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use whole_file::WholeFile;

use crate::{KgError, Sequence, output};

/// Writes sequences one by one; the file appears, complete, with [`SequenceWriter::finish`].
pub struct SequenceWriter {
    path: PathBuf,
    output: Output,
    line: Vec<u8>,
}

enum Output {
    Plain(WholeFile),
    Gzip(GzEncoder<WholeFile>),
}

impl SequenceWriter {
    /// Starts a file for `path`; folders on the way are created.
    ///
    /// # Errors
    /// [`KgError::Io`] if the folder cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, KgError> {
        let path = path.as_ref();
        let file = output::create(path)?;
        let output = if compressed(path) {
            Output::Gzip(GzEncoder::new(file, Compression::default()))
        } else {
            Output::Plain(file)
        };
        Ok(Self { path: path.to_owned(), output, line: Vec::new() })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`KgError::Io`] if the file cannot be written, for example for lack of space.
    pub fn write(&mut self, sequence: &Sequence) -> Result<(), KgError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, sequence)
            .map_err(|error| KgError::io(&self.path, "write the file")(error.into()))?;
        self.line.push(b'\n');
        match &mut self.output {
            Output::Plain(file) => file.write_all(&self.line),
            Output::Gzip(file) => file.write_all(&self.line),
        }
        .map_err(KgError::io(&self.path, "write the file"))
    }

    /// Writes everything through to the disk and gives the file its name.
    ///
    /// # Errors
    /// [`KgError::Io`] if that fails; then there is no file.
    pub fn finish(self) -> Result<(), KgError> {
        let file = match self.output {
            Output::Plain(file) => file,
            Output::Gzip(file) => {
                file.finish().map_err(KgError::io(&self.path, "write the file"))?
            }
        };
        output::publish([output::sync(file)?])
    }
}

/// Reads sequences one by one; stops after the first error.
pub struct SequenceReader {
    path: PathBuf,
    input: Box<dyn BufRead + Send>,
    text: Vec<u8>,
    line: u64,
    done: bool,
}

impl SequenceReader {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`KgError::Io`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KgError> {
        let path = path.as_ref();
        let file = File::open(path).map_err(KgError::io(path, "read the file"))?;
        let file: Box<dyn Read + Send> =
            if compressed(path) { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
        let input = Box::new(BufReader::with_capacity(1 << 16, file));
        Ok(Self { path: path.to_owned(), input, text: Vec::new(), line: 0, done: false })
    }

    fn read(&mut self) -> Result<Option<Sequence>, KgError> {
        loop {
            self.text.clear();
            match self.input.read_until(b'\n', &mut self.text) {
                Ok(0) => return Ok(None),
                Ok(_) => self.line += 1,
                Err(error)
                    if error.kind() == ErrorKind::UnexpectedEof && compressed(&self.path) =>
                {
                    return Err(KgError::Truncated { path: self.path.clone(), line: self.line });
                }
                Err(error) => return Err(KgError::io(&self.path, "read the file")(error)),
            }
            if self.text.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let fault = |got| KgError::Json { path: self.path.clone(), line: self.line, got };
            let sequence: Sequence =
                serde_json::from_slice(&self.text).map_err(|error| fault(error.to_string()))?;
            return match sequence.fault() {
                Some(got) => Err(fault(got)),
                None => Ok(Some(sequence)),
            };
        }
    }
}

impl Iterator for SequenceReader {
    type Item = Result<Sequence, KgError>;

    /// The next sequence. [`KgError::Json`] names the line of one that cannot be parsed or whose spans and labels do not
    /// agree; [`KgError::Truncated`] stands for gzip data that end early.
    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let next = self.read().transpose();
        self.done = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Writes all `sequences` to `path`.
///
/// # Errors
/// As [`SequenceWriter`].
pub fn write<'s>(
    path: impl AsRef<Path>,
    sequences: impl IntoIterator<Item = &'s Sequence>,
) -> Result<(), KgError> {
    let mut writer = SequenceWriter::create(path)?;
    for sequence in sequences {
        writer.write(sequence)?;
    }
    writer.finish()
}

/// Reads all sequences of `path`.
///
/// # Errors
/// As [`SequenceReader`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Sequence>, KgError> {
    SequenceReader::open(path)?.collect()
}

fn compressed(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"))
}
