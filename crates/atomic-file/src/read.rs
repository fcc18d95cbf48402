//! Reading of text files: plain or gzip-compressed, with or without a byte order mark, from a file,
//! a pipe or standard input.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{note_missing_newline, remember_input};

const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BUFFER: usize = 1 << 16;

type Source = Box<dyn Read + Send>;

/// A reader of the decompressed contents of a text file.
pub struct TextReader {
    inner: BufReader<Chain<Cursor<Vec<u8>>, Source>>,
    packed: bool,
}

/// A source whose first read returns an error.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Opens a text file, decompresses it if it starts with the gzip signature, and skips a byte order
/// mark; `-` is standard input.
///
/// # Errors
/// If it cannot be opened or read.
pub fn open(path: impl AsRef<Path>) -> io::Result<TextReader> {
    open_with(path.as_ref(), false)
}

fn open_with(path: &Path, keep_mark: bool) -> io::Result<TextReader> {
    let source: Source = match path == Path::new("-") {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(path)?),
    };
    remember_input(path);
    let (head, source) = peek(source, GZIP.len())?;
    // A `.gz` file that is too short for the signature is truncated, so it is also read as gzip.
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let packed = head == GZIP || named && head.len() < GZIP.len();
    let whole = Cursor::new(head).chain(source);
    let source: Source = match packed {
        true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        false => Box::new(whole),
    };
    let (mut head, source) = match peek(source, BYTE_ORDER_MARK.len()) {
        Ok(peeked) => peeked,
        // The first read returns this error, as it does for later errors.
        Err(error) => (Vec::new(), Box::new(Failed(Some(error))) as Source),
    };
    if head == BYTE_ORDER_MARK && !keep_mark {
        head.clear();
    }
    let inner = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source));
    Ok(TextReader { inner, packed })
}

/// Reads the first bytes, at most `length`.
fn peek(mut source: Source, length: usize) -> io::Result<(Vec<u8>, Source)> {
    let mut head = Vec::with_capacity(length);
    source.by_ref().take(length as u64).read_to_end(&mut head).map_err(early_end)?;
    Ok((head, source))
}

/// Explains an early end of compressed data.
fn early_end(error: io::Error) -> io::Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => {
            let reason = "the gzip data end early; the file is incomplete, make or copy it again";
            io::Error::new(ErrorKind::UnexpectedEof, reason)
        }
        _ => error,
    }
}

impl TextReader {
    /// Returns whether the file is compressed.
    pub fn is_packed(&self) -> bool {
        self.packed
    }
}

impl Read for TextReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(early_end)
    }
}

impl BufRead for TextReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf().map_err(early_end)
    }

    fn consume(&mut self, amount: usize) {
        self.inner.consume(amount);
    }
}

/// Maximum uncompressed size in bytes of a file for [`read`] and [`read_to_string`]: more than any
/// dataset of questions, and less than the memory of a machine. Larger files can be read with
/// [`Lines`].
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// Reads the whole contents of a text file, decoded like [`open`].
///
/// # Errors
/// The errors of [`open`]; if the file cannot be read to its end; [`ErrorKind::FileTooLarge`] for a
/// file larger than [`MAX_FILE_BYTES`].
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_limited(path, MAX_FILE_BYTES)
}

/// [`read`] with a limit of `limit` uncompressed bytes. Reading stops at the limit.
///
/// # Errors
/// The errors of [`read`].
pub fn read_limited(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    read_with(path.as_ref(), limit, false)
}

fn read_with(path: &Path, limit: u64, keep_mark: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let length = data.map_or(0, |data| data.len());
    // Compression never doubles the size of a file, except for small files.
    if length > limit.saturating_mul(2).max(1 << 20) {
        return Err(too_long(limit));
    }
    let reserved = usize::try_from(length.min(limit)).unwrap_or(usize::MAX).saturating_add(1);
    bytes.try_reserve_exact(reserved).map_err(|_| ErrorKind::OutOfMemory)?;
    open_with(path, keep_mark)?.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(too_long(limit));
    }
    Ok(bytes)
}

fn too_long(limit: u64) -> io::Error {
    let limit = match (limit >> 30, limit >> 20) {
        (gib, _) if gib << 30 == limit && gib > 0 => format!("{gib} GiB"),
        (_, mib) if mib << 20 == limit && mib > 0 => format!("{mib} MiB"),
        _ => format!("{limit} bytes"),
    };
    let reason = format!(
        "it holds more than {limit}, unpacked, the most that is read at once of such a file; give \
         the right file, or a part of it"
    );
    io::Error::new(ErrorKind::FileTooLarge, reason)
}

/// Reads a file like [`read`], as UTF-8.
///
/// # Errors
/// The errors of [`read`]; [`ErrorKind::InvalidData`] naming the first line that is not UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    read_to_string_limited(path, MAX_FILE_BYTES)
}

/// Reads a file like [`read_limited`], as UTF-8.
///
/// # Errors
/// The errors of [`read_to_string`].
pub fn read_to_string_limited(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    as_utf8(read_limited(path, limit)?)
}

/// [`read_to_string_limited`] with the byte order mark retained, for offsets from the start of the
/// file.
///
/// # Errors
/// The errors of [`read_to_string`].
pub fn read_to_string_with_mark(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    as_utf8(read_with(path.as_ref(), limit, true)?)
}

fn as_utf8(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let before = error.as_bytes().get(..valid).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        let reason = format!("line {line} is not UTF-8; convert the file first");
        io::Error::new(ErrorKind::InvalidData, reason)
    })
}

/// Reads a text file line by line, with line numbers.
pub struct Lines {
    reader: TextReader,
    note_missing_newline: bool,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file like [`open`].
    ///
    /// # Errors
    /// The errors of [`open`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let (reader, path) = (open(path)?, path.to_owned());
        Ok(Self { reader, note_missing_newline: false, path, line: Vec::new(), number: 0 })
    }

    /// Enables a note ([`take_notes`](crate::take_notes)) if the last line has no line end, for
    /// formats in which a truncated line may be valid, unlike JSON.
    #[must_use]
    pub fn note_missing_newline(self) -> Self {
        Self { note_missing_newline: true, ..self }
    }

    /// Moves to the next line; returns `false` at the end.
    ///
    /// # Errors
    /// If the file cannot be read; [`ErrorKind::UnexpectedEof`] if gzip data end early.
    pub fn advance(&mut self) -> io::Result<bool> {
        self.line.clear();
        if self.reader.read_until(b'\n', &mut self.line)? == 0 {
            return Ok(false);
        }
        self.number += 1;
        if self.note_missing_newline {
            note_missing_newline(&self.path, &self.line);
        }
        if self.line.pop_if(|last| *last == b'\n').is_some() {
            self.line.pop_if(|last| *last == b'\r');
        }
        Ok(true)
    }

    /// Returns the line without its line end (`\n` or `\r\n`).
    pub fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the number of the line, from 1; 0 before the first line.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns whether the file is compressed.
    pub fn is_packed(&self) -> bool {
        self.reader.is_packed()
    }
}
