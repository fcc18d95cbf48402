use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use serde::{Deserialize, Serialize};

use super::bits::{BLOCK, CRC_BITS, MAGIC_BITS, STREAM_END, Segment};
use super::decode::{Decoder, Failure};
use super::pool::{Piece, Pool};
use super::segments::{LONGEST, Segments, header_level};

/// The error for bytes behind the last stream.
const TRAILING: &str = "expected the end of the file or another stream, got other data";

/// A place in a bzip2 file from which it can be decoded: where a stream or one of its blocks
/// begins, or where a stream ends. The default is the beginning of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlockStart {
    /// The place in the compressed file, in bits.
    pub bit_offset: u64,
    /// The level of the stream, 1 to 9; none if the header of a stream comes here.
    pub level: Option<u8>,
    /// The CRC of the blocks of the stream before this one, which the end of the stream is checked
    /// with; 0 at its first block.
    pub combined_crc: u32,
}

/// A decoded block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodedBlock {
    /// From here the block can be decoded again.
    pub start: BlockStart,
    /// From here the file can be decoded on behind the block.
    pub end: BlockStart,
    /// The decoded bytes, never none: up to 0.9 MB before the run lengths at the innermost of the
    /// format are unpacked, thus mostly some more, and 46 MB if they are all equal.
    pub bytes: Vec<u8>,
}

/// The decoded blocks of a bzip2 file, in its order; see [the crate](crate) for errors and memory.
///
/// After an error there are no more blocks.
#[derive(Debug)]
pub struct Bzip2Blocks {
    pool: Pool,
    /// Bits of the file from the place reached on.
    window: Segment,
    /// A block that some thread has decoded in advance, if it lies where a block is.
    ready: Option<Ready>,
    /// The place reached.
    at: BlockStart,
    /// Whether the window reaches to the end of the file.
    read: bool,
    /// Whether there are no more blocks.
    done: bool,
}

#[derive(Debug)]
struct Ready {
    start: u64,
    end: u64,
    level: u8,
    bytes: Vec<u8>,
}

impl Bzip2Blocks {
    /// Decodes a file from its beginning with this many threads, at least one; another one reads,
    /// and holds `input` until it has been read or, after the blocks are dropped, its last read
    /// returns.
    ///
    /// # Errors
    ///
    /// The operating system gives no thread. All else is an error of the iterator.
    pub fn new<R: Read + Send + 'static>(input: R, threads: usize) -> io::Result<Self> {
        Self::start(input, BlockStart::default(), threads)
    }

    /// Decodes on from the start or the end of a block of an earlier run, or from any place where a
    /// stream begins.
    ///
    /// # Errors
    ///
    /// `from` is no place for a block or stream or lies behind the file's end, the input cannot
    /// seek, or the operating system gives no thread. All else is an error of the iterator, also if
    /// no block begins at `from`.
    pub fn resume_at<R>(mut input: R, from: BlockStart, threads: usize) -> io::Result<Self>
    where
        R: Read + Seek + Send + 'static,
    {
        let is_place = match from.level {
            Some(level) => (1..=9).contains(&level),
            None => from.bit_offset.is_multiple_of(8) && from.combined_crc == 0,
        };
        if !is_place {
            let message =
                format!("{from:?}: expected a level of 1 to 9, or whole bytes and no CRC");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        let length = input.seek(SeekFrom::End(0))?;
        if from.bit_offset.div_ceil(8) > length {
            let message = format!("{from:?}: the file has {length} bytes only");
            return Err(io::Error::new(ErrorKind::InvalidInput, message));
        }
        input.seek(SeekFrom::Start(from.bit_offset / 8))?;
        Self::start(input, from, threads)
    }

    fn start<R>(input: R, at: BlockStart, threads: usize) -> io::Result<Self>
    where
        R: Read + Send + 'static,
    {
        let pool = Pool::new(Segments::new(input, at.bit_offset, at.level), threads)?;
        let window = Segment::new(Vec::new(), at.bit_offset, at.bit_offset);
        Ok(Self { pool, window, ready: None, at, read: false, done: false })
    }

    /// The place reached: the start of the next block, or a place before it with no data between.
    pub fn position(&self) -> BlockStart {
        self.at
    }

    fn next_block(&mut self) -> io::Result<Option<DecodedBlock>> {
        loop {
            let Some(level) = self.at.level else {
                if self.read_header()? {
                    continue;
                }
                return Ok(None);
            };
            match self.peek(MAGIC_BITS)? {
                Some(BLOCK) => return self.take_block(level).map(Some),
                Some(STREAM_END) => self.end_stream()?,
                Some(_) => {
                    return Err(self.damaged("neither a block nor the end of a stream begins here"));
                }
                None => {
                    return Err(self.cut_short("where a block or the end of a stream should be,"));
                }
            }
        }
    }

    /// Reads the header of a stream; false if the file ends instead.
    fn read_header(&mut self) -> io::Result<bool> {
        let is_first = self.at.bit_offset == 0;
        if let Some(header) = self.peek(32)? {
            let header = u32::try_from(header).map_err(io::Error::other)?;
            let Some(level) = header_level(header.to_be_bytes()) else {
                return Err(self.damaged(match is_first {
                    true => "expected BZh and a level, so this is no bzip2 file",
                    false => TRAILING,
                }));
            };
            self.go_to(BlockStart {
                bit_offset: self.at.bit_offset + 32,
                level: Some(level),
                combined_crc: 0,
            });
            return Ok(true);
        }
        // Less than four bytes; they may be the first of a header.
        let mut begin = true;
        for (expected, count) in [(u64::from(b'B'), 8), (0x425a, 16), (0x42_5a68, 24)] {
            begin &= self.peek(count)?.is_none_or(|found| found == expected);
        }
        match (self.window.len(), is_first) {
            (0, false) => Ok(false),
            (0, true) => Err(self.damaged("the file is empty, so it is no bzip2 file")),
            _ if begin => Err(self.cut_short("inside the header of a stream,")),
            (_, true) => Err(self.damaged("this is no bzip2 file")),
            _ => Err(self.damaged(TRAILING)),
        }
    }

    /// Checks the CRC of a stream and goes behind its end.
    fn end_stream(&mut self) -> io::Result<()> {
        let Some(end) = self.peek_at(self.at.bit_offset + MAGIC_BITS, CRC_BITS)? else {
            return Err(self.cut_short("inside the end of a stream,"));
        };
        if end != u64::from(self.at.combined_crc) {
            let ours = self.at.combined_crc;
            let what = format!("the stream ends with CRC {end:08x}, its blocks have {ours:08x}");
            return Err(self.damaged(&what));
        }
        let bits = self.at.bit_offset + MAGIC_BITS + CRC_BITS;
        let bit_offset = bits.next_multiple_of(8);
        self.go_to(BlockStart { bit_offset, level: None, combined_crc: 0 });
        Ok(())
    }

    /// The block that begins at the place reached.
    fn take_block(&mut self, level: u8) -> io::Result<DecodedBlock> {
        let start = self.at;
        let at = start.bit_offset;
        let Some(crc) = self.peek_at(at + MAGIC_BITS, CRC_BITS)? else {
            return Err(self.cut_short("inside the block"));
        };
        let crc = u32::try_from(crc).map_err(io::Error::other)?;
        let ready = self.ready.take().filter(|ready| ready.start == at && ready.level == level);
        let (end, bytes) = match ready {
            Some(ready) => (ready.end, ready.bytes),
            None => self.decode_here(level)?,
        };
        let combined_crc = start.combined_crc.rotate_left(1) ^ crc;
        self.go_to(BlockStart { bit_offset: end, level: Some(level), combined_crc });
        Ok(DecodedBlock { start, end: self.at, bytes })
    }

    /// Decodes the block at the place reached without knowing its end: its data hold a magic
    /// number, or they are damaged, or the file ends.
    fn decode_here(&mut self, level: u8) -> io::Result<(u64, Vec<u8>)> {
        let longest = u64::try_from(LONGEST).map_err(io::Error::other)?.saturating_mul(8);
        let mut decoder = Decoder::default();
        loop {
            match decoder.decode(&self.window, level) {
                Ok(block) => return Ok((block.end, block.bytes)),
                Err(Failure::Damaged) => {
                    return Err(self.damaged("the data of this block are damaged"));
                }
                Err(Failure::Checksum) => {
                    return Err(self.damaged("the data of this block do not match its CRC"));
                }
                Err(Failure::Behind) if self.window.len() > longest => {
                    return Err(self.damaged("this block has no end, so its data are damaged"));
                }
                Err(Failure::Behind) => {
                    // Twice as much each time, so that all attempts together take as long as two.
                    let wanted = self.window.len().saturating_mul(2);
                    if !self.extend()? {
                        return Err(self.open_ended());
                    }
                    while self.window.len() < wanted && self.extend()? {}
                }
            }
        }
    }

    /// The error for a block that reaches to the end of the file.
    fn open_ended(&self) -> io::Error {
        let end = self.window.end();
        let footer = MAGIC_BITS + CRC_BITS;
        let is_whole = (footer..footer + 8).any(|length| {
            self.window.peek(end.saturating_sub(length), MAGIC_BITS) == Some(STREAM_END)
        });
        // The block goes over the end of its stream.
        if is_whole {
            return self.damaged("the data of this block are damaged");
        }
        self.cut_short("inside the block")
    }

    /// The bits at the place reached, without going on; none if the file has not as many.
    fn peek(&mut self, count: u64) -> io::Result<Option<u64>> {
        self.peek_at(self.at.bit_offset, count)
    }

    fn peek_at(&mut self, at: u64, count: u64) -> io::Result<Option<u64>> {
        while self.window.end() < at.saturating_add(count) {
            if !self.extend()? {
                return Ok(None);
            }
        }
        Ok(self.window.peek(at, count))
    }

    /// Takes another piece into the window; false at the end of the file.
    fn extend(&mut self) -> io::Result<bool> {
        if self.read {
            return Ok(false);
        }
        let Some(Piece { segment, decoded }) = self.pool.next()? else {
            self.read = true;
            return Ok(false);
        };
        if let Some((level, bytes)) = decoded {
            let (start, end) = (segment.start(), segment.end());
            self.ready = Some(Ready { start, end, level, bytes });
        }
        self.window.join(segment)?;
        self.window.advance(self.at.bit_offset);
        Ok(true)
    }

    fn go_to(&mut self, to: BlockStart) {
        self.at = to;
        self.window.advance(to.bit_offset);
    }

    /// The place reached, in words.
    fn place(&self) -> String {
        format!("byte {} (bit {})", self.at.bit_offset / 8, self.at.bit_offset % 8)
    }

    fn damaged(&self, what: &str) -> io::Error {
        io::Error::new(ErrorKind::InvalidData, format!("bzip2, at {}: {what}", self.place()))
    }

    fn cut_short(&self, what: &str) -> io::Error {
        let end = self.window.end() / 8;
        let message = format!(
            "bzip2: the file was cut short: it ends at byte {end}, {what} at {}",
            self.place()
        );
        io::Error::new(ErrorKind::UnexpectedEof, message)
    }
}

impl Iterator for Bzip2Blocks {
    type Item = io::Result<DecodedBlock>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let block = self.next_block().transpose();
        self.done = !matches!(block, Some(Ok(_)));
        block
    }
}

impl std::iter::FusedIterator for Bzip2Blocks {}
