#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

use std::io::{self, BufRead, Read, Seek};

use serde::{Deserialize, Serialize};

mod bits;
mod blocks;
mod decode;
mod pool;
mod scan;
mod segments;
#[cfg(test)]
mod tests;

pub use blocks::{BlockStart, Bzip2Blocks, DecodedBlock};

/// A place in the unpacked bytes of a bzip2 file, from which one can read on without unpacking what
/// comes before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReadPosition {
    /// The block with the next byte.
    pub block: BlockStart,
    /// Unpacked bytes of the block that come before.
    pub skip: u64,
}

/// Reads the unpacked bytes of a bzip2 file; see [the crate](crate) for errors and memory.
///
/// It is buffered, so [`BufRead`] needs no other buffer around it, and after a line has been read
/// [`position`](Self::position) is the place behind this line.
///
/// After an error each read gives this error again.
///
/// ```
/// use std::io::BufRead;
///
/// use bzip2_blocks::ParallelBzip2;
///
/// # fn main() -> std::io::Result<()> {
/// // printf 'one\ntwo\n' | bzip2
/// let packed = b"BZh91AY&SY\xa7\x14+w\0\0\x02\xc1\x80\0\x10\x02\x01\x84\x80 \0!\x80\x0c\x028\xf5\
///     \x1b\x8b\xb9\"\x9c(HS\x8a\x15\xbb\x80";
/// let lines = ParallelBzip2::new(packed.as_slice(), 2)?.lines();
/// assert_eq!(lines.collect::<Result<Vec<_>, _>>()?, ["one", "two"]);
///
/// let cut_short = packed.get(..30).unwrap_or_default();
/// let error = ParallelBzip2::new(cut_short, 2)?.lines().find_map(Result::err);
/// assert_eq!(
///     error.map(|error| error.to_string()).as_deref(),
///     Some(
///         "bzip2: the file was cut short: it ends at byte 30, inside the block at byte 4 (bit 0)"
///     ),
/// );
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ParallelBzip2 {
    blocks: Bzip2Blocks,
    current: Option<DecodedBlock>,
    /// Bytes of the current block that were read.
    taken: usize,
    failed: Option<(io::ErrorKind, String)>,
}

impl ParallelBzip2 {
    /// Reads a file from its beginning, with this many threads that unpack, at least one.
    ///
    /// # Errors
    ///
    /// As [`Bzip2Blocks::new`].
    pub fn new<R: Read + Send + 'static>(input: R, threads: usize) -> io::Result<Self> {
        Ok(Self::from(Bzip2Blocks::new(input, threads)?))
    }

    /// Reads on from the [`position`](Self::position) of an earlier run.
    ///
    /// # Errors
    ///
    /// As [`Bzip2Blocks::resume_at`]; if bytes have to be skipped, also those of reading, or the
    /// block has not as many.
    pub fn resume_at<R>(input: R, from: ReadPosition, threads: usize) -> io::Result<Self>
    where
        R: Read + Seek + Send + 'static,
    {
        let mut reader = Self::from(Bzip2Blocks::resume_at(input, from.block, threads)?);
        if from.skip > 0 {
            let length = reader.fill_buf()?.len();
            reader.taken = usize::try_from(from.skip).unwrap_or(usize::MAX);
            if reader.taken > length {
                let message = format!("{from:?}: the block has {length} bytes");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
            }
        }
        Ok(reader)
    }

    /// The place of the next byte to read.
    pub fn position(&self) -> ReadPosition {
        match &self.current {
            Some(block) if self.taken < block.bytes.len() => ReadPosition {
                block: block.start,
                skip: u64::try_from(self.taken).unwrap_or(u64::MAX),
            },
            _ => ReadPosition { block: self.blocks.position(), skip: 0 },
        }
    }
}

impl From<Bzip2Blocks> for ParallelBzip2 {
    /// Reads the blocks that are left.
    fn from(blocks: Bzip2Blocks) -> Self {
        Self { blocks, current: None, taken: 0, failed: None }
    }
}

impl BufRead for ParallelBzip2 {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let read = self.current.as_ref().is_none_or(|block| self.taken >= block.bytes.len());
        if read {
            if let Some((kind, message)) = &self.failed {
                return Err(io::Error::new(*kind, message.clone()));
            }
            // The old block goes before the new one comes.
            (self.current, self.taken) = (None, 0);
            self.current = self.blocks.next().transpose().inspect_err(|error| {
                self.failed = Some((error.kind(), error.to_string()));
            })?;
        }
        let bytes = self.current.as_ref().and_then(|block| block.bytes.get(self.taken..));
        Ok(bytes.unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.taken = self.taken.saturating_add(amount);
    }
}

impl Read for ParallelBzip2 {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
