//! JSONL files: one JSON object per line, gzip-compressed where the path ends in `.gz`.
use std::io::Write;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use serde::de::DeserializeOwned;
use whole_file::WholeFile;

use crate::input::{Lines, compressed};
use crate::{KgError, Sequence, output};

/// What a line of a JSONL file holds.
pub trait Record: DeserializeOwned {
    /// Its name in errors, as in "expected one sequence as a JSON object".
    const NAME: &'static str;

    /// What makes a well-formed object unusable, in words; looked at as it is read.
    fn fault(&self) -> Option<String>;
}

impl Record for Sequence {
    const NAME: &'static str = "sequence";

    fn fault(&self) -> Option<String> {
        Sequence::fault(self)
    }
}

/// Writes sequences one by one.
pub type SequenceWriter = JsonlWriter<Sequence>;

/// Reads sequences one by one.
pub type SequenceReader = JsonlReader<Sequence>;

/// Writes objects one by one; the file appears, complete, with [`JsonlWriter::finish`].
pub struct JsonlWriter<T> {
    path: PathBuf,
    output: Output,
    line: Vec<u8>,
    holds: PhantomData<fn(T)>,
}

enum Output {
    Plain(WholeFile),
    Gzip(GzEncoder<WholeFile>),
}

impl<T: Serialize> JsonlWriter<T> {
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
        Ok(Self { path: path.to_owned(), output, line: Vec::new(), holds: PhantomData })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`KgError::Io`] if the file cannot be written, for example for lack of space.
    pub fn write(&mut self, record: &T) -> Result<(), KgError> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, record)
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

/// Reads objects one by one; stops after the first error. Lines of white space are skipped.
pub struct JsonlReader<T> {
    lines: Lines,
    done: bool,
    holds: PhantomData<fn() -> T>,
}

impl<T: Record> JsonlReader<T> {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`KgError::Io`] if it cannot be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, KgError> {
        let lines = Lines::open(path.as_ref())?;
        Ok(Self { lines, done: false, holds: PhantomData })
    }

    /// An error about the object read last, which names its line.
    pub(crate) fn refuse(&self, got: String) -> KgError {
        let (path, line) = (self.lines.path().to_owned(), self.lines.number());
        KgError::Json { path, line, what: T::NAME, got }
    }

    fn read(&mut self) -> Result<Option<T>, KgError> {
        while self.lines.advance()? {
            if self.lines.bytes().iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let record: T = serde_json::from_slice(self.lines.bytes())
                .map_err(|error| self.refuse(error.to_string()))?;
            return match record.fault() {
                Some(got) => Err(self.refuse(got)),
                None => Ok(Some(record)),
            };
        }
        Ok(None)
    }
}

impl<T: Record> Iterator for JsonlReader<T> {
    type Item = Result<T, KgError>;

    /// The next object. [`KgError::Json`] names the line of one that cannot be parsed or whose parts do not agree;
    /// [`KgError::Truncated`] stands for gzip data that end early.
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
/// As [`JsonlWriter`].
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
/// As [`JsonlReader`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Sequence>, KgError> {
    SequenceReader::open(path)?.collect()
}
