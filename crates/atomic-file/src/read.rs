//! Reading of text files, pipes and standard input: plain or gzip-compressed, with or without a
//! byte order mark.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::content::{check_text_start, describe_invalid_utf8};
use crate::{Error, LOG_TARGET, report_opened};

const GZIP_SIGNATURE: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BUFFER_BYTES: usize = 1 << 16;

/// The action in errors of readers.
pub(crate) const READ: &str = "read";

type Source = Box<dyn Read + Send>;

/// A reader of the decompressed contents of a text file.
pub struct TextReader {
    inner: BufReader<Chain<Cursor<Vec<u8>>, Source>>,
}

/// A source whose first read returns an error.
struct FailedSource(Option<io::Error>);

impl Read for FailedSource {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Opens a text file, decompresses it if it starts with the gzip signature, and skips a byte order
/// mark; `-` is standard input.
///
/// # Errors
/// If the file cannot be opened or read.
pub fn open(path: impl AsRef<Path>) -> Result<TextReader, Error> {
    let path = path.as_ref();
    open_with(path, false).map_err(Error::new(path, READ))
}

fn open_with(path: &Path, retain_bom: bool) -> io::Result<TextReader> {
    let source: Source = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    report_opened(path);
    let (start, source) = read_start(source, GZIP_SIGNATURE.len())?;
    // A `.gz` file that is shorter than the signature is truncated; decompression reports this.
    let has_gzip_name =
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let is_gzip = start == GZIP_SIGNATURE || has_gzip_name && start.len() < GZIP_SIGNATURE.len();
    let source = Cursor::new(start).chain(source);
    let source: Source = match is_gzip {
        true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, source))),
        false => Box::new(source),
    };
    let (mut start, source) = match read_start(source, BYTE_ORDER_MARK.len()) {
        Ok(peeked) => peeked,
        // The first call of `Read::read` returns the error, so that all decompression errors are
        // returned while reading, not by `open`.
        Err(error) => (Vec::new(), Box::new(FailedSource(Some(error))) as Source),
    };
    if start == BYTE_ORDER_MARK && !retain_bom {
        start.clear();
    }
    let inner = BufReader::with_capacity(BUFFER_BYTES, Cursor::new(start).chain(source));
    Ok(TextReader { inner })
}

/// Reads up to `length` bytes from the start of `source`; returns them and the remaining source.
fn read_start(mut source: Source, length: usize) -> io::Result<(Vec<u8>, Source)> {
    let mut start = Vec::with_capacity(length);
    source.by_ref().take(length as u64).read_to_end(&mut start).map_err(explain_truncation)?;
    Ok((start, source))
}

/// Adds an explanation to the error for truncated gzip data.
fn explain_truncation(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            let reason = "the gzip data is truncated; create or copy the file again";
            io::Error::new(ErrorKind::UnexpectedEof, reason)
        }
        _ => error,
    }
}

impl Read for TextReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(explain_truncation)
    }
}

impl BufRead for TextReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf().map_err(explain_truncation)
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

/// Maximum uncompressed size in bytes of a file for [`read`] and [`read_to_string`]. [`Lines`] has
/// no limit.
///
/// The limit is larger than any dataset of questions and smaller than the memory of most machines.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// Reads the whole contents of a text file, decompressed as by [`open`].
///
/// # Errors
/// The errors of [`open`]; an error while reading; [`ErrorKind::FileTooLarge`] for a file larger
/// than [`MAX_FILE_BYTES`].
pub fn read(path: impl AsRef<Path>) -> Result<Vec<u8>, Error> {
    read_limited(path, MAX_FILE_BYTES)
}

/// Reads a file like [`read`], with a limit of `limit` uncompressed bytes.
///
/// # Errors
/// The errors of [`read`].
pub fn read_limited(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    read_with(path, limit, false).map_err(Error::new(path, READ))
}

/// Reads a file like [`read_limited`], but retains a byte order mark.
///
/// # Errors
/// The errors of [`read`].
pub fn read_with_bom(path: impl AsRef<Path>, limit: u64) -> Result<Vec<u8>, Error> {
    let path = path.as_ref();
    read_with(path, limit, true).map_err(Error::new(path, READ))
}

/// Converts the contents of the text file `path` to a string.
///
/// # Errors
/// [`ErrorKind::InvalidData`] with the name of the format of a file that is not text, such as PDF or
/// UTF-16, or with the number of the first line that is not UTF-8.
pub fn to_utf8(path: impl AsRef<Path>, bytes: Vec<u8>) -> Result<String, Error> {
    into_utf8(bytes).map_err(Error::new(path.as_ref(), READ))
}

fn read_with(path: &Path, limit: u64, retain_bom: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let file_size = metadata.map_or(0, |metadata| metadata.len());
    // A file larger than twice the limit and than 1 MiB is rejected without reading it. Gzip at
    // most doubles the size of data, except for small files, so the uncompressed data of such a
    // file exceeds the limit.
    if file_size > limit.saturating_mul(2).max(1 << 20) {
        return Err(too_large_error(limit));
    }
    let capacity = usize::try_from(file_size.min(limit)).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(capacity).map_err(|_| ErrorKind::OutOfMemory)?;
    open_with(path, retain_bom)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_large_error(limit));
    }
    Ok(bytes)
}

fn too_large_error(limit: u64) -> io::Error {
    let limit = match (limit >> 30, limit >> 20) {
        (gib, _) if gib << 30 == limit && gib > 0 => format!("{gib} GiB"),
        (_, mib) if mib << 20 == limit && mib > 0 => format!("{mib} MiB"),
        _ => format!("{limit} bytes"),
    };
    let reason = format!(
        "it contains more than {limit} of uncompressed data, the maximum for such a file; use another \
         file, or split it"
    );
    io::Error::new(ErrorKind::FileTooLarge, reason)
}

/// Reads a file like [`read`], as UTF-8.
///
/// # Errors
/// The errors of [`read`]; [`ErrorKind::InvalidData`] with the name of the format of a file that is
/// not text, such as PDF or UTF-16, or with the number of the first line that is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> Result<String, Error> {
    read_to_string_limited(path, MAX_FILE_BYTES)
}

/// Reads a file like [`read_limited`], as UTF-8.
///
/// # Errors
/// The errors of [`read_to_string`].
pub fn read_to_string_limited(path: impl AsRef<Path>, limit: u64) -> Result<String, Error> {
    let path = path.as_ref();
    read_with(path, limit, false).and_then(into_utf8).map_err(Error::new(path, READ))
}

/// Reads a file like [`read_to_string_limited`], but retains a byte order mark, so that offsets in
/// the text are offsets in the file.
///
/// # Errors
/// The errors of [`read_to_string`].
pub fn read_to_string_with_bom(path: impl AsRef<Path>, limit: u64) -> Result<String, Error> {
    let path = path.as_ref();
    read_with(path, limit, true).and_then(into_utf8).map_err(Error::new(path, READ))
}

/// Converts the contents of a text file.
fn into_utf8(bytes: Vec<u8>) -> io::Result<String> {
    check_text_start(&bytes)?;
    String::from_utf8(bytes).map_err(|error| {
        let reason = describe_invalid_utf8(error.as_bytes(), error.utf8_error().valid_up_to());
        io::Error::new(ErrorKind::InvalidData, reason)
    })
}

/// Logs a warning about an input file.
///
/// The warning's target is [`LOG_TARGET`](crate::LOG_TARGET).
pub fn note(warning: &str) {
    log::warn!(target: LOG_TARGET, "{warning}");
}

/// Logs a warning if the last line of `bytes`, the end of the file `path`, has no line end: the file
/// may be truncated. See [`note`].
pub fn note_missing_newline(path: &Path, bytes: &[u8]) {
    if bytes.last().is_some_and(|&last| last != b'\n') {
        note(&format!("{}: the last line has no line end; it may be truncated", path.display()));
    }
}

/// A reader of the lines of a text file, with line numbers.
pub struct Lines {
    reader: TextReader,
    notes_missing_newline: bool,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file like [`open`].
    ///
    /// # Errors
    /// The errors of [`open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let (reader, path) = (open(path)?, path.to_owned());
        Ok(Self { reader, notes_missing_newline: false, path, line: Vec::new(), number: 0 })
    }

    /// Enables a warning in the log if the last line has no line end, for formats in which a
    /// truncated line may be valid, unlike JSON; see [`note_missing_newline`].
    #[must_use]
    pub fn note_missing_newline(self) -> Self {
        Self { notes_missing_newline: true, ..self }
    }

    /// Moves to the next line; returns `false` at the end.
    ///
    /// # Errors
    /// If the file cannot be read; [`ErrorKind::UnexpectedEof`] if gzip data is truncated;
    /// [`ErrorKind::InvalidData`] with the name of the format of a file that is not text.
    pub fn advance(&mut self) -> Result<bool, Error> {
        self.read_line().map_err(Error::new(&self.path, READ))
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        if self.number == 0 {
            check_text_start(self.reader.fill_buf()?)?;
        }
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.notes_missing_newline {
            note_missing_newline(&self.path, &self.line);
        }
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
        }
        Ok(true)
    }

    /// Returns the current line without its line end (`\n` or `\r\n`).
    pub fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the current line, from 1; 0 before the first line.
    pub fn number(&self) -> u64 {
        self.number
    }
}
