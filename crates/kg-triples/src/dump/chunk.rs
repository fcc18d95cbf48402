//! Chunks of complete lines of a dump, and their parsed contents.
use std::io::{self, Read};

use super::format::{DumpFormat, Event, LineFormat};
use super::requested::Requested;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Consecutive complete lines of a dump.
pub(super) struct Chunk {
    /// Byte offset in the decompressed dump.
    pub(super) offset: u64,
    pub(super) bytes: Vec<u8>,
    /// Whether the last line is truncated because it is longer than the maximum line length.
    pub(super) truncated: bool,
}

impl Chunk {
    /// Returns the format of the dump if this is the dump's first chunk, and `None` otherwise.
    ///
    /// # Errors
    /// The error of [`DumpFormat::detect`].
    pub(super) fn detect_format(&self) -> Result<Option<DumpFormat>, String> {
        let start = self.bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.bytes);
        (self.offset == 0).then(|| DumpFormat::detect(start)).transpose()
    }
}

/// Reads chunks from a decompressed dump.
pub(super) struct ChunkReader<R> {
    input: R,
    /// The bytes after the last complete line: the beginning of a line whose end has not been read.
    partial_line: Vec<u8>,
    offset: u64,
    max_line_bytes: usize,
    /// Bytes per read.
    read_bytes: u64,
    /// Whether the next bytes are the remainder of a truncated line.
    skipping: bool,
    at_end: bool,
}

impl<R: Read> ChunkReader<R> {
    /// Creates a reader. Lines longer than `max_line_bytes` are truncated. The input must begin at
    /// the start of a line, at byte `offset` of the dump. `read_bytes` (bytes per read) does not
    /// affect the output.
    pub(super) fn new(input: R, max_line_bytes: usize, offset: u64, read_bytes: u64) -> Self {
        let (partial_line, skipping, at_end) = (Vec::new(), false, false);
        Self { input, partial_line, offset, max_line_bytes, read_bytes, skipping, at_end }
    }

    /// Returns the byte offset of the end of the last returned chunk.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Appends up to `read_bytes` bytes of the input to `bytes`; returns `false` at the end of the
    /// input.
    fn read_block(&mut self, bytes: &mut Vec<u8>) -> io::Result<bool> {
        Ok(self.input.by_ref().take(self.read_bytes).read_to_end(bytes)? > 0)
    }

    /// Returns the next chunk; `None` at the end of the dump.
    ///
    /// # Errors
    /// If the input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Chunk>> {
        let mut bytes = std::mem::take(&mut self.partial_line);
        let mut searched_bytes = bytes.len();
        while !self.at_end {
            self.at_end = !self.read_block(&mut bytes)?;
            if self.skipping {
                let end = memchr::memchr(b'\n', &bytes).map(|at| at + 1);
                let skipped = end.unwrap_or(bytes.len());
                self.skipping = end.is_none();
                self.offset += skipped as u64;
                bytes.drain(..skipped);
                searched_bytes = 0;
            }
            if let Some(at) = memchr::memrchr(b'\n', &bytes[searched_bytes..]) {
                self.partial_line = bytes.split_off(searched_bytes + at + 1);
                return Ok(Some(self.make_chunk(bytes, false)));
            }
            searched_bytes = bytes.len();
            if searched_bytes > self.max_line_bytes {
                self.skipping = true;
                return Ok(Some(self.make_chunk(bytes, true)));
            }
        }
        Ok((!bytes.is_empty()).then(|| self.make_chunk(bytes, false)))
    }

    fn make_chunk(&mut self, bytes: Vec<u8>, truncated: bool) -> Chunk {
        let offset = self.offset;
        self.offset += bytes.len() as u64;
        Chunk { offset, bytes, truncated }
    }
}

/// An event with the index of its line in the chunk and the byte offset of this line in the dump.
pub(super) struct LineEvent {
    pub(super) line: u64,
    pub(super) offset: u64,
    pub(super) event: Event,
}

/// A parsed chunk.
pub(super) struct ParsedChunk {
    pub(super) line_count: u64,
    pub(super) events: Vec<LineEvent>,
}

/// Parses every line of a chunk of a dump in the given format.
pub(super) fn parse_chunk(
    chunk: &Chunk,
    format: &dyn LineFormat,
    requested: &Requested,
) -> ParsedChunk {
    let mut parsed = ParsedChunk { line_count: 0, events: Vec::new() };
    let mut offset = chunk.offset;
    let mut lines = chunk.bytes.split_inclusive(|byte| *byte == b'\n').peekable();
    while let Some(line) = lines.next() {
        let line_index = parsed.line_count;
        let mut push = |event| parsed.events.push(LineEvent { line: line_index, offset, event });
        if chunk.truncated && lines.peek().is_none() {
            push(Event::Bad(format!("a line longer than {} bytes", line.len())));
        } else {
            // Byte-order marks also occur inside a dump that was concatenated from several files.
            let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line).trim_ascii();
            format.parse_line(line, requested, &mut push);
        }
        parsed.line_count += 1;
        offset += line.len() as u64;
    }
    parsed
}
