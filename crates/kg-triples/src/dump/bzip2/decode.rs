use bzip2::{Decompress, Status};

use super::bits::Segment;

/// Room for decoded bytes at first; the blocks of most files fit.
const ROOM: usize = 1 << 20;

/// The decoded bytes of the block that fills `start..end` of a segment; none if that is not one
/// whole block whose data match its CRC.
///
/// An `end` that is too early cannot pass for the right one: the decoder would go on into what
/// [`Segment::block_stream`] puts behind, and would miss that at the end.
pub(super) fn block(segment: &Segment, level: u8, end: u64) -> Option<Vec<u8>> {
    let stream = segment.block_stream(level, end)?;
    let mut decoder = Decompress::new(false);
    let mut bytes = Vec::with_capacity(ROOM);
    let mut rest = stream.as_slice();
    loop {
        let (length, before) = (bytes.len(), decoder.total_in());
        let status = decoder.decompress_vec(rest, &mut bytes).ok()?;
        let taken = usize::try_from(decoder.total_in() - before).ok()?;
        rest = rest.get(taken..)?;
        match status {
            Status::StreamEnd => return rest.is_empty().then_some(bytes),
            _ if bytes.len() == bytes.capacity() => bytes.reserve(ROOM),
            _ if taken == 0 && bytes.len() == length => return None,
            _ => {}
        }
    }
}

/// Where a block ends.
#[derive(Debug, PartialEq)]
pub(super) enum End {
    /// At this bit or up to [`LOOK_AHEAD`] bits before.
    AtMost(u64),
    /// Behind the segment.
    Behind,
    /// Nowhere: these bits are no block.
    Damaged,
}

/// Bits that the decoder may have taken from behind a block: its buffer has 64.
pub(super) const LOOK_AHEAD: u64 = 128;

/// Where the block that begins a segment ends, whatever comes behind. The data are not checked.
pub(super) fn find_end(segment: &Segment, level: u8) -> End {
    let stream = segment.open_stream(level);
    let mut decoder = Decompress::new(false);
    // Without room for a byte the decoder stops when it has read the block.
    let read = decoder.decompress(&stream, &mut []);
    let taken = decoder.total_in();
    if read.is_err() {
        return End::Damaged;
    }
    // A byte comes out if it has, even where that byte is all and its CRC is wrong.
    let _ = decoder.decompress(&[], &mut [0]);
    if decoder.total_out() == 0 {
        return End::Behind;
    }
    // Behind the four bytes of the header.
    let bits = taken.saturating_sub(4).saturating_mul(8);
    End::AtMost(segment.start().saturating_add(bits).min(segment.end()))
}
