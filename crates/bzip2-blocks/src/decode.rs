use self::reader::Reader;
use self::rotations::Rotations;
use self::symbols::{Column, Symbols};
use super::bits::{CRC_BITS, MAGIC_BITS, Segment};

mod front;
mod huffman;
mod randomised;
mod reader;
mod rotations;
mod runs;
mod symbols;
#[cfg(test)]
mod tests;

/// Room for decoded bytes at first; the blocks of most files fit.
const ROOM: usize = 1 << 20;

/// The most bytes of a block of level 1, before its innermost code is unpacked.
const LEVEL: usize = 100_000;

/// Decodes blocks, in memory that is used again for the next: a table of 4 MiB, of which as much is
/// touched as blocks need, and twice to four times the longest block.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    symbols: Symbols,
    column: Column,
    rotations: Rotations,
}

/// A decoded block.
#[derive(Debug)]
pub(super) struct Block {
    /// The bit of the file behind the block.
    pub end: u64,
    /// The data, which match the block's CRC.
    pub bytes: Vec<u8>,
}

/// Why there is no block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It ends behind the segment.
    Behind,
    /// These bits are no block of this level.
    Damaged,
    /// The data do not match the CRC.
    Checksum,
}

/// What stands at the beginning of a block.
#[derive(Clone, Copy, Debug)]
struct Header {
    crc: u64,
    is_randomised: bool,
    /// The row of the sorted rotations that is the text.
    origin: usize,
}

impl Decoder {
    /// Decodes the block of a stream of `level` that begins a segment, whatever comes behind it.
    ///
    /// # Errors
    ///
    /// There is no whole block whose data match its CRC.
    pub fn decode(&mut self, segment: &Segment, level: u8) -> Result<Block, Failure> {
        let mut reader = Reader::new(segment.bytes(), segment.start() % 8 + MAGIC_BITS);
        let header = self.read(&mut reader, level);
        let end = (segment.start() / 8 * 8).saturating_add(reader.position());
        // Bits that are not there may be why it seems damaged.
        if end > segment.end() {
            return Err(Failure::Behind);
        }
        let header = header.ok_or(Failure::Damaged)?;
        let bytes = self.unpack(header).ok_or(Failure::Damaged)?;
        if u64::from(runs::checksum(&bytes)) != header.crc {
            return Err(Failure::Checksum);
        }
        Ok(Block { end, bytes })
    }

    /// Reads a block from behind its magic number to its end.
    fn read(&mut self, reader: &mut Reader<'_>, level: u8) -> Option<Header> {
        let crc = reader.take(u32::try_from(CRC_BITS).ok()?);
        let is_randomised = reader.take(1) == 1;
        let origin = usize::try_from(reader.take(24)).ok()?;
        let most = usize::from(level).checked_mul(LEVEL)?;
        self.symbols.read(reader, most, &mut self.column)?;
        Some(Header { crc, is_randomised, origin })
    }

    /// The data of the block that was read.
    fn unpack(&mut self, header: Header) -> Option<Vec<u8>> {
        self.rotations.undo(&mut self.column, header.origin)?;
        let text = self.column.bytes();
        if header.is_randomised {
            randomised::undo(text);
        }
        let mut bytes = Vec::with_capacity(ROOM);
        runs::unpack(text, &mut bytes)?;
        Some(bytes)
    }
}
