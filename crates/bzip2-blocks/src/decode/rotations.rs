use super::reader::index;
use super::symbols::Column;

/// Bits of a row's number: a block has at most 900,000 rows.
const ROW_BITS: u32 = 20;
const ROWS: usize = 1 << ROW_BITS;

/// In an entry, says that the next row is one where a walk starts.
const AT_START: u32 = 1 << 31;

/// Walks that go on at the same time.
const LANES: usize = 16;

/// Steps of all walks before one looks whether a walk has come to its end.
const STEPS: usize = 64;

/// The most walks of a block. Many, so that all lanes have work to the end.
const WALKS: usize = 512;

/// Rows between two starts, at least.
const APART: usize = 512;

/// Undoes the sorting of rotations (Burrows-Wheeler transform).
///
/// Row by row the text is one walk through a table that is larger than most caches, and no step can
/// begin before the one before it has its entry from memory. So many walks are begun, from
/// rows all over the table, and several go on at the same time. Each ends where another one has
/// started, as the rows are a permutation: no row is the next of two. In the end the pieces are put
/// together in the order in which they follow each other from the first row of the text.
#[derive(Debug)]
pub(super) struct Rotations {
    /// For each row its first byte, above [`ROW_BITS`], and the row of the rotation that begins one
    /// byte later.
    table: Box<[u32]>,
    /// Rows where walks start, ascending.
    starts: Vec<u32>,
    /// For each start, what its walk gave.
    walks: Vec<Walk>,
    /// What each lane wrote, walk by walk.
    written: [Vec<u8>; LANES],
}

/// What came of a walk.
#[derive(Clone, Copy, Debug, Default)]
struct Walk {
    lane: usize,
    /// The bytes that its lane wrote.
    from: usize,
    to: usize,
    /// The row where the next walk started.
    next: u32,
}

/// A lane's present walk.
#[derive(Clone, Copy, Debug)]
struct Lane {
    /// Its number; none if there are no more for this lane.
    walk: Option<usize>,
    from: usize,
}

impl Default for Rotations {
    fn default() -> Self {
        Self {
            table: vec![0; ROWS].into_boxed_slice(),
            starts: Vec::new(),
            walks: Vec::new(),
            written: Default::default(),
        }
    }
}

impl Rotations {
    /// Replaces the last column of a block's sorted rotations by the text that begins at the row
    /// `origin`; none if there is no such row.
    pub fn undo(&mut self, column: &mut Column, origin: usize) -> Option<()> {
        let length = column.bytes().len();
        if origin >= length || length > ROWS {
            return None;
        }
        self.starts.clear();
        let apart = length.div_ceil(WALKS).max(APART);
        let rows = (0..length).step_by(apart).map(u32::try_from);
        self.starts.extend(rows.filter_map(Result::ok));
        let origin = u32::try_from(origin).ok()?;
        if let Err(place) = self.starts.binary_search(&origin) {
            self.starts.insert(place, origin);
        }
        self.link(column)?;
        self.walk_all()?;
        self.join(column.bytes(), origin)
    }

    /// Fills the table.
    fn link(&mut self, column: &mut Column) -> Option<()> {
        let mut next = 0_u32;
        let mut firsts = [0; 256];
        for (first, count) in firsts.iter_mut().zip(column.counts()) {
            *first = next;
            next = next.checked_add(*count)?;
        }
        let table: &mut [u32; ROWS] = self.table.as_mut().try_into().ok()?;
        let bytes = column.bytes();
        let length = u32::try_from(bytes.len()).ok()?;
        let ends = self.starts.iter().skip(1).copied().chain([length]);
        for (start, end) in self.starts.iter().copied().zip(ends) {
            let mut mark = AT_START;
            let bytes = bytes.get(index(start)..index(end))?;
            for (row, value) in (start..).zip(bytes) {
                let first = firsts.get_mut(usize::from(*value))?;
                let entry = row | (u32::from(*value) << ROW_BITS) | mark;
                // It is below ROWS, so this is no check.
                *table.get_mut(row_of(*first))? = entry;
                *first = first.wrapping_add(1);
                mark = 0;
            }
        }
        Some(())
    }

    /// Does the walks from all starts.
    fn walk_all(&mut self) -> Option<()> {
        let table: &[u32; ROWS] = self.table.as_ref().try_into().ok()?;
        self.walks.clear();
        self.walks.resize(self.starts.len(), Walk::default());
        self.written.iter_mut().for_each(Vec::clear);
        let mut waiting = self.starts.iter().copied().enumerate();
        let mut rows = [0; LANES];
        let mut lanes = [Lane { walk: None, from: 0 }; LANES];
        for (lane, row) in lanes.iter_mut().zip(&mut rows) {
            if let Some((walk, start)) = waiting.next() {
                (lane.walk, *row) = (Some(walk), start);
            }
        }
        let mut entries = [[0; STEPS]; LANES];
        while lanes.iter().any(|lane| lane.walk.is_some()) {
            let any = advance(table, &mut rows, &mut entries);
            for ((lane, written), entries) in lanes.iter().zip(&mut self.written).zip(&entries) {
                if lane.walk.is_some() {
                    written.extend(entries.iter().map(|entry| first_byte(*entry)));
                }
            }
            if any & AT_START == 0 {
                continue;
            }
            let state = lanes.iter_mut().zip(&mut rows).zip(&mut self.written).zip(&entries);
            for (number, (((lane, row), written), entries)) in state.enumerate() {
                let Some(walk) = lane.walk else { continue };
                let Some(last) = entries.iter().position(|entry| entry & AT_START != 0) else {
                    continue;
                };
                // What comes behind belongs to the next walk.
                let to = written.len().checked_sub(STEPS)?.checked_add(last)?.checked_add(1)?;
                written.truncate(to);
                let next = u32::try_from(row_of(*entries.get(last)?)).ok()?;
                *self.walks.get_mut(walk)? = Walk { lane: number, from: lane.from, to, next };
                *lane = Lane { walk: None, from: to };
                if let Some((walk, start)) = waiting.next() {
                    (lane.walk, *row) = (Some(walk), start);
                }
            }
        }
        Some(())
    }

    /// Puts the pieces together, as many as it takes to fill the text. If the text is a repeated
    /// one, the walks come back to its start before.
    fn join(&self, text: &mut [u8], origin: u32) -> Option<()> {
        let (mut at, mut filled) = (origin, 0);
        while filled < text.len() {
            if at == origin && filled > 0 {
                let (period, rest) = text.split_at_mut(filled);
                for part in rest.chunks_mut(filled) {
                    part.copy_from_slice(period.get(..part.len())?);
                }
                break;
            }
            let walk = self.walks.get(self.starts.binary_search(&at).ok()?)?;
            let piece = self.written.get(walk.lane)?.get(walk.from..walk.to)?;
            let end = filled.checked_add(piece.len())?;
            text.get_mut(filled..end)?.copy_from_slice(piece);
            (at, filled) = (walk.next, end);
        }
        Some(())
    }
}

/// Goes [`STEPS`] steps in each lane, stores the entries, and returns what is set in any.
#[inline(never)]
fn advance(
    table: &[u32; ROWS],
    rows: &mut [u32; LANES],
    entries: &mut [[u32; STEPS]; LANES],
) -> u32 {
    let mut any = 0;
    let mut at = *rows;
    for step in 0..STEPS {
        for (row, entries) in at.iter_mut().zip(entries.iter_mut()) {
            // It is below ROWS, so this is no check.
            let entry = table.get(row_of(*row)).copied().unwrap_or_default();
            if let Some(place) = entries.get_mut(step) {
                *place = entry;
            }
            *row = entry;
            any |= entry;
        }
    }
    *rows = at;
    any
}

/// The row in an entry, below [`ROWS`].
#[inline(always)]
fn row_of(entry: u32) -> usize {
    index(entry & (u32::MAX >> (32 - ROW_BITS)))
}

/// The byte in an entry.
#[inline(always)]
fn first_byte(entry: u32) -> u8 {
    let [first, ..] = (entry >> ROW_BITS).to_le_bytes();
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One walk through a table, as the first decoder of the format does it.
    fn plain(column: &[u8], origin: usize) -> Vec<u8> {
        let mut rows: Vec<usize> = (0..column.len()).collect();
        rows.sort_by_key(|row| column[*row]);
        let mut at = rows[origin];
        let mut text = Vec::new();
        for _ in column {
            text.push(column[at]);
            at = rows[at];
        }
        text
    }

    proptest! {
        #[test]
        fn gives_what_one_walk_gives(
            values in 1..=255_u8,
            length in 1..6000_usize,
            seed in any::<u32>(),
            origin in any::<prop::sample::Index>(),
        ) {
            let mut state = seed;
            let random = (0..length).map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8 % values
            });
            let bytes: Vec<u8> = random.collect();
            let origin = origin.index(length);
            let mut column = Column::of(&bytes);
            let mut rotations = Rotations::default();
            prop_assert!(rotations.undo(&mut column, length).is_none());
            prop_assert!(rotations.undo(&mut column, origin).is_some());
            prop_assert!(column.bytes() == plain(&bytes, origin));
        }
    }
}
