use std::io::{self, Read};

use super::bits::{BLOCK, Segment, bits_at, byte_index};
use super::scan::Scan;

/// Bytes that a block cannot reach: 900,000 symbols have at most 20 bits each, and what comes
/// before them has less than 64 KiB in what any program writes. Compressed random data take 0.9 MB.
pub(super) const LONGEST: usize = 4 << 20;

/// Bytes that are read at once.
const PORTION: u64 = 256 << 10;

/// A segment of the file from one magic number to the next, with what is known before decoding.
#[derive(Debug)]
pub(super) struct Cut {
    /// The bits.
    pub segment: Segment,
    /// The level of the stream, if the segment looks like one whole block of a stream.
    pub block_level: Option<u8>,
}

/// Cuts a file before each magic number. Inside of a block there may be one by chance, so that a
/// cut may be wrong; also a segment ends when it gets longer than a block can be.
#[derive(Debug)]
pub(super) struct Segments<R> {
    input: R,
    /// The bytes of the file from `base` on.
    buffer: Vec<u8>,
    base: u64,
    scan: Scan,
    /// Where the current segment begins, as a bit of the file.
    start: u64,
    /// The magic number that it begins with.
    magic: Option<u64>,
    /// The level in the last header before it.
    level: Option<u8>,
    /// Whether the file has been read to its end.
    read: bool,
    /// Why reading ended before.
    failed: Option<io::Error>,
    /// Whether the last segment has been given out.
    done: bool,
}

impl<R: Read> Segments<R> {
    /// Cuts from bit `start` of a file; `input` stands at the byte with this bit. The bit lies
    /// behind a header with `level`, or at one.
    pub fn new(input: R, start: u64, level: Option<u8>) -> Self {
        Self {
            input,
            buffer: Vec::new(),
            base: start / 8,
            scan: Scan::default(),
            start,
            magic: None,
            level,
            read: false,
            failed: None,
            done: false,
        }
    }

    /// The next segment; none behind the last, which ends where the file ends and may be empty.
    ///
    /// # Errors
    ///
    /// Those of the input.
    pub fn next(&mut self) -> io::Result<Option<Cut>> {
        while !self.done {
            // The current magic number is behind.
            let from = self.start + u64::from(self.magic.is_some()) - self.base * 8;
            if let Some((bit, magic)) = self.scan.find(&self.buffer, from, self.read) {
                let end = self.base * 8 + bit;
                let cut = (end > self.start).then(|| self.cut(end, true));
                self.magic = Some(magic);
                if let Some(level) = self.header_before(end) {
                    self.level = Some(level);
                }
                if cut.is_some() {
                    return Ok(cut);
                }
            } else if let Some(error) = self.failed.take() {
                self.done = true;
                return Err(error);
            } else if self.read {
                self.done = true;
                let length = u64::try_from(self.buffer.len()).map_err(io::Error::other)?;
                // A file that is shorter than the place to begin at has nothing left.
                return Ok(Some(self.cut(((self.base + length) * 8).max(self.start), false)));
            } else if self.buffer.len() > LONGEST + byte_index(self.start - self.base * 8) {
                let searched = u64::try_from(self.scan.searched()).map_err(io::Error::other)?;
                let cut = self.cut(((self.base + searched) * 8).max(self.start), false);
                self.magic = None;
                return Ok(Some(cut));
            } else {
                self.refill()?;
            }
        }
        Ok(None)
    }

    /// Ends the current segment at a bit of the file and begins the next there.
    fn cut(&mut self, end: u64, at_magic: bool) -> Cut {
        let bytes = byte_index(self.start - self.base * 8)..byte_index(end + 7 - self.base * 8);
        let bytes = self.buffer.get(bytes).unwrap_or_default().to_vec();
        let is_block = at_magic && self.magic == Some(BLOCK);
        let block_level = self.level.filter(|_| is_block);
        let segment = Segment::new(bytes, self.start, end);
        self.start = end;
        Cut { segment, block_level }
    }

    /// The level in the header of a stream right before a bit.
    fn header_before(&self, bit: u64) -> Option<u8> {
        let at = bit.checked_sub(self.base * 8 + 32)?;
        let header = u32::try_from(bits_at(&self.buffer, at, 32)).ok()?;
        if bit.is_multiple_of(8) { header_level(header.to_be_bytes()) } else { None }
    }

    /// Reads on, and drops what lies before the current segment.
    fn refill(&mut self) -> io::Result<()> {
        let gone = byte_index(self.start - self.base * 8);
        // Four bytes stay, since a header may be among them.
        let gone = gone.saturating_sub(4).min(self.buffer.len());
        self.buffer.drain(..gone);
        self.scan.dropped(gone);
        self.base += u64::try_from(gone).map_err(io::Error::other)?;
        let count = self.input.by_ref().take(PORTION).read_to_end(&mut self.buffer);
        match count {
            Ok(count) => self.read = count == 0,
            Err(error) => {
                let length = u64::try_from(self.buffer.len()).map_err(io::Error::other)?;
                let at = self.base + length;
                let message = format!("cannot read the compressed file at byte {at}: {error}");
                // First comes what was read before.
                self.failed = Some(io::Error::new(error.kind(), message));
            }
        }
        Ok(())
    }
}

/// The level that the header of a stream names; none if these are not the bytes of a header.
pub(super) fn header_level(header: [u8; 4]) -> Option<u8> {
    match header {
        [b'B', b'Z', b'h', digit @ b'1'..=b'9'] => Some(digit - b'0'),
        _ => None,
    }
}
