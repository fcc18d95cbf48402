use super::front::Front;
use super::huffman::{LONGEST_CODE, PER_REFILL, SYMBOLS, Table};
use super::reader::{Reader, index};

/// Symbols that are coded by one table in a row.
const GROUP: usize = 50;

/// The most groups that a block of 900,000 symbols and its end can have. What a file has more is
/// read and not used.
const MOST_GROUPS: usize = 18_002;

/// Symbols of the two digits of a run's length.
const RUN_SYMBOLS: u16 = 2;

/// The most digits of a run's length. With more it would not fit into any block.
const MOST_DIGITS: u32 = 20;

/// Bytes that are written at once for a run, most of which are short.
const SHORT_RUN: usize = 16;

/// The last column of a block's sorted rotations, as the Huffman and move-to-front codes give it.
#[derive(Debug)]
pub(super) struct Column {
    /// The bytes, and room behind for [`SHORT_RUN`] more.
    bytes: Vec<u8>,
    length: usize,
    /// The most bytes that a block of this level has.
    most: usize,
    /// How often each byte value stands there.
    counts: [u32; 256],
}

impl Default for Column {
    fn default() -> Self {
        Self { bytes: Vec::new(), length: 0, most: 0, counts: [0; 256] }
    }
}

impl Column {
    /// A column with these bytes.
    #[cfg(test)]
    pub fn of(bytes: &[u8]) -> Self {
        let mut column = Self::default();
        column.clear(bytes.len());
        bytes.iter().for_each(|byte| column.push(*byte).unwrap());
        column
    }

    fn clear(&mut self, most: usize) {
        if self.bytes.len() < most.saturating_add(SHORT_RUN) {
            self.bytes.resize(most.saturating_add(SHORT_RUN), 0);
        }
        (self.length, self.most, self.counts) = (0, most, [0; 256]);
    }

    /// How often each byte value stands in the column.
    pub fn counts(&self) -> &[u32; 256] {
        &self.counts
    }

    /// The bytes.
    pub fn bytes(&mut self) -> &mut [u8] {
        self.bytes.get_mut(..self.length).unwrap_or_default()
    }

    /// Appends a run; none if the block gets too long.
    #[inline(always)]
    fn push_run(&mut self, value: u8, count: u32) -> Option<()> {
        let end = self.length.saturating_add(index(count));
        if end > self.most {
            return None;
        }
        let rest = self.bytes.get_mut(self.length..)?;
        *rest.first_chunk_mut::<SHORT_RUN>()? = [value; SHORT_RUN];
        if index(count) > SHORT_RUN {
            rest.get_mut(SHORT_RUN..index(count))?.fill(value);
        }
        self.length = end;
        self.count(value, count);
        Some(())
    }

    /// Appends a byte; none if the block gets too long.
    #[inline(always)]
    fn push(&mut self, value: u8) -> Option<()> {
        if self.length >= self.most {
            return None;
        }
        *self.bytes.get_mut(self.length)? = value;
        self.length += 1;
        self.count(value, 1);
        Some(())
    }

    #[inline(always)]
    fn count(&mut self, value: u8, count: u32) {
        if let Some(all) = self.counts.get_mut(usize::from(value)) {
            *all = all.wrapping_add(count);
        }
    }
}

/// Reads the codes of a block and what they code.
#[derive(Debug)]
pub(super) struct Symbols {
    tables: [Table; 6],
    /// The table of each group.
    selectors: Vec<u8>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { tables: Default::default(), selectors: Vec::with_capacity(MOST_GROUPS) }
    }
}

impl Symbols {
    /// Reads a block from behind the place of its first rotation to its end. None if it is damaged,
    /// or has more than `most` bytes.
    pub fn read(
        &mut self,
        reader: &mut Reader<'_>,
        most: usize,
        column: &mut Column,
    ) -> Option<()> {
        column.clear(most);
        let values = read_values(reader)?;
        self.read_tables(reader, values.len().saturating_add(2))?;
        let end = u16::try_from(values.len()).ok()?.checked_add(1)?;
        let mut front = Front::new(&values);
        let mut run = Run::default();
        for selector in &self.selectors {
            let table = self.tables.get(usize::from(*selector))?;
            let mut group = [0; GROUP];
            let count = read_group(reader, table, end, &mut group)?;
            for symbol in group.iter().take(count) {
                take_symbol(*symbol, &mut run, &mut front, column)?;
            }
            if count < GROUP {
                return column.push_run(front.first(), run.length);
            }
        }
        None
    }

    /// Reads which groups are coded by which tables, and the tables of `symbols` codes.
    fn read_tables(&mut self, reader: &mut Reader<'_>, symbols: usize) -> Option<()> {
        let tables = usize::try_from(reader.take(3)).ok()?;
        let groups = usize::try_from(reader.take(15)).ok()?;
        if !(2..=self.tables.len()).contains(&tables) || groups == 0 {
            return None;
        }
        self.selectors.clear();
        let mut recent = [0, 1, 2, 3, 4, 5];
        let most = u32::try_from(tables).ok()?;
        for group in 0..groups {
            let place = reader.ones(most)?;
            if group < MOST_GROUPS {
                recent.get_mut(..=place)?.rotate_right(1);
                self.selectors.extend(recent.first());
            }
        }
        for table in self.tables.iter_mut().take(tables) {
            let mut lengths = [0; SYMBOLS];
            let lengths = lengths.get_mut(..symbols)?;
            read_lengths(reader, lengths)?;
            table.build(lengths);
        }
        Some(())
    }
}

/// Reads which byte values a block has; none if it has none.
fn read_values(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    let sixteens = reader.take(16);
    let mut values = Vec::with_capacity(256);
    for sixteen in (0..16_u8).filter(|sixteen| sixteens >> (15 - sixteen) & 1 == 1) {
        let present = reader.take(16);
        let within = (0..16_u8).filter(|value| present >> (15 - value) & 1 == 1);
        values.extend(within.map(|value| (sixteen << 4) | value));
    }
    (!values.is_empty()).then_some(values)
}

/// Reads the length of each symbol's code; none if one is not 1 to 20.
fn read_lengths(reader: &mut Reader<'_>, lengths: &mut [u8]) -> Option<()> {
    let mut length = u32::try_from(reader.take(5)).ok()?;
    for place in lengths {
        loop {
            if !(1..=LONGEST_CODE).contains(&length) {
                return None;
            }
            reader.refill();
            match reader.peek(2) {
                0b10 => length += 1,
                0b11 => length -= 1,
                _ => break,
            }
            reader.consume(2);
        }
        reader.consume(1);
        *place = u8::try_from(length).ok()?;
    }
    Some(())
}

/// Reads the symbols of a group and returns how many; less than all if then comes the symbol `end`,
/// with which the block ends.
#[inline(always)]
fn read_group(
    reader: &mut Reader<'_>,
    table: &Table,
    end: u16,
    group: &mut [u16; GROUP],
) -> Option<usize> {
    let mut count = 0;
    for few in group.as_chunks_mut::<PER_REFILL>().0 {
        reader.refill();
        for place in few {
            *place = table.next(reader)?;
            if *place == end {
                return Some(count);
            }
            count += 1;
        }
    }
    Some(count)
}

/// Digits of a run's length that were read.
#[derive(Debug, Default)]
struct Run {
    length: u32,
    digits: u32,
}

/// Appends to the column what a symbol stands for, or keeps it as a digit.
#[inline(always)]
fn take_symbol(symbol: u16, run: &mut Run, front: &mut Front, column: &mut Column) -> Option<()> {
    if symbol < RUN_SYMBOLS {
        if run.digits > MOST_DIGITS {
            return None;
        }
        run.length += u32::from(symbol + 1) << run.digits;
        run.digits += 1;
        return Some(());
    }
    if run.digits > 0 {
        column.push_run(front.first(), run.length)?;
        *run = Run::default();
    }
    column.push(front.take(symbol - 1))
}
