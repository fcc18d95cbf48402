use std::io;

/// The 48 bits that begin a block.
pub(super) const BLOCK: u64 = 0x3141_5926_5359;
/// The 48 bits that end a stream; the combined CRC follows.
pub(super) const STREAM_END: u64 = 0x1772_4538_5090;
/// Length of either.
pub(super) const MAGIC_BITS: u64 = 48;
/// Length of a CRC.
pub(super) const CRC_BITS: u64 = 32;

/// The index of the byte that holds a bit; an index that no slice has if it does not fit.
pub(super) fn byte_index(bit: u64) -> usize {
    usize::try_from(bit / 8).unwrap_or(usize::MAX)
}

/// `count` bits, at most 56, from bit `at` of `bytes`, in the low bits of the result; bits behind
/// the last byte are 0.
pub(super) fn bits_at(bytes: &[u8], at: u64, count: u64) -> u64 {
    let rest = bytes.get(byte_index(at)..).unwrap_or_default();
    let word = match rest.first_chunk::<8>() {
        Some(whole) => u64::from_be_bytes(*whole),
        None => {
            let mut padded = [0; 8];
            padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
            u64::from_be_bytes(padded)
        }
    };
    (word << (at % 8)) >> (64 - count)
}

/// A run of bits of the compressed file, with its place in the file.
#[derive(Clone, Debug, Default)]
pub(super) struct Segment {
    /// The bytes of the file that hold the bits, so at both ends there may be bits of the
    /// neighbours.
    bytes: Vec<u8>,
    /// The first bit.
    start: u64,
    /// The first bit behind.
    end: u64,
}

impl Segment {
    /// The bits `start..end` of a file, of which `bytes` are the bytes from `start / 8` on, as many
    /// as are needed.
    pub fn new(bytes: Vec<u8>, start: u64, end: u64) -> Self {
        Self { bytes, start, end }
    }

    /// The place in the file of the first bit.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The place in the file behind the last bit.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The bytes of the file that hold the bits.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bits.
    pub fn len(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// The `count` bits, at most 56, at a place in the file; none if they are not all here.
    pub fn peek(&self, at: u64, count: u64) -> Option<u64> {
        let inside = at >= self.start && at.checked_add(count)? <= self.end;
        inside.then(|| bits_at(&self.bytes, at - self.start / 8 * 8, count))
    }

    /// Appends the segment that follows this one in the file.
    ///
    /// # Errors
    ///
    /// It begins elsewhere.
    pub fn join(&mut self, next: Self) -> io::Result<()> {
        if next.start != self.end {
            return Err(io::Error::other("internal error: two segments do not adjoin"));
        }
        if self.len() == 0 {
            *self = next;
            return Ok(());
        }
        // A byte that holds bits of both is in both.
        let shared = usize::from(!self.end.is_multiple_of(8));
        self.bytes.extend(next.bytes.iter().skip(shared));
        self.end = next.end;
        Ok(())
    }

    /// Drops the bits before a place in the file.
    pub fn advance(&mut self, to: u64) {
        let to = to.clamp(self.start, self.end);
        let gone = byte_index(to - self.start / 8 * 8).min(self.bytes.len());
        self.bytes.drain(..gone);
        self.start = to;
    }
}
