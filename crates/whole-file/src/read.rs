//! Text files as they come: plain or gzip-compressed, with or without a byte order mark, from a
//! file, a pipe or standard input.
use std::fs::File;
use std::io::{self, BufRead, BufReader, Chain, Cursor, ErrorKind, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use crate::{note_missing_newline, remember_input};

const GZIP: &[u8] = &[0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
const BUFFER: usize = 1 << 16;

type Source = Box<dyn Read + Send>;

/// The content of a text file.
pub struct TextReader {
    inner: BufReader<Chain<Cursor<Vec<u8>>, Source>>,
    packed: bool,
}

/// A source that has failed.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Opens a text file, decompressed where it begins as gzip does, without its byte order mark; `-`
/// is standard input.
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
    // One that is named so and cut before it says so is incomplete, too.
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gz"));
    let packed = head == GZIP || named && head.len() < GZIP.len();
    let whole = Cursor::new(head).chain(source);
    let source: Source = match packed {
        true => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole))),
        false => Box::new(whole),
    };
    let (mut head, source) = match peek(source, BYTE_ORDER_MARK.len()) {
        Ok(peeked) => peeked,
        // For the reader, as one that comes later is.
        Err(error) => (Vec::new(), Box::new(Failed(Some(error))) as Source),
    };
    if head == BYTE_ORDER_MARK && !keep_mark {
        head.clear();
    }
    let inner = BufReader::with_capacity(BUFFER, Cursor::new(head).chain(source));
    Ok(TextReader { inner, packed })
}

/// The first bytes, at most `length`.
fn peek(mut source: Source, length: usize) -> io::Result<(Vec<u8>, Source)> {
    let mut head = Vec::with_capacity(length);
    source.by_ref().take(length as u64).read_to_end(&mut head).map_err(early_end)?;
    Ok((head, source))
}

/// Names what the end of compressed data in the middle means.
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
    /// Whether the file is compressed.
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

/// Bytes of the longest file that [`read`] and [`read_to_string`] give, unpacked: more than any set
/// of questions, and less than what ends a machine's memory. What may be longer is read in lines.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// The whole content of a text file, as [`open`] gives it.
///
/// # Errors
/// As [`open`]; if it cannot be read to its end; [`ErrorKind::FileTooLarge`] for one that is longer
/// than [`MAX_FILE_BYTES`].
pub fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    read_limited(path, MAX_FILE_BYTES)
}

/// The same of a file of at most `limit` bytes, unpacked. No more of a longer one is read.
///
/// # Errors
/// As [`read`].
pub fn read_limited(path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    read_with(path.as_ref(), limit, false)
}

fn read_with(path: &Path, limit: u64, keep_mark: bool) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let data = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let length = data.map_or(0, |data| data.len());
    // Packing makes nothing twice as long, but for what is short.
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

/// The content of [`read`] as UTF-8.
///
/// # Errors
/// As [`read`]; [`ErrorKind::InvalidData`] naming the first line that is no UTF-8.
pub fn read_to_string(path: impl AsRef<Path>) -> io::Result<String> {
    read_to_string_limited(path, MAX_FILE_BYTES)
}

/// The content of [`read_limited`] as UTF-8.
///
/// # Errors
/// As [`read_to_string`].
pub fn read_to_string_limited(path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    as_utf8(read_limited(path, limit)?)
}

/// The same with the byte order mark, if there is one, for offsets from the start of the file.
///
/// # Errors
/// As [`read_to_string`].
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

/// A text file line by line, with line numbers.
pub struct Lines {
    reader: TextReader,
    note_missing_newline: bool,
    path: PathBuf,
    line: Vec<u8>,
    number: u64,
}

impl Lines {
    /// Opens a file as [`open`] does.
    ///
    /// # Errors
    /// As [`open`].
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        let path = path.as_ref();
        let (reader, path) = (open(path)?, path.to_owned());
        Ok(Self { reader, note_missing_newline: false, path, line: Vec::new(), number: 0 })
    }

    /// The same, with a note ([`take_notes`](crate::take_notes)) where the last line has no end:
    /// for lines that a cut leaves readable, unlike those of JSON.
    #[must_use]
    pub fn note_missing_newline(self) -> Self {
        Self { note_missing_newline: true, ..self }
    }

    /// Goes to the next line; `false` at the end.
    ///
    /// # Errors
    /// If the file cannot be read; [`ErrorKind::UnexpectedEof`] where gzip data end early.
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

    /// The line, without its end (`\n` or `\r\n`).
    pub fn bytes(&self) -> &[u8] {
        &self.line
    }

    /// Where the lines come from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The line's number, from 1; 0 before the first.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether the file is compressed.
    pub fn is_packed(&self) -> bool {
        self.reader.is_packed()
    }
}
