use super::reader::{Reader, index};

/// The longest code.
pub(super) const LONGEST_CODE: u32 = 20;

/// Codes up to this length are looked up at once. A code of the data is seldom longer.
const SHORT: u32 = 11;

/// How many symbols of short codes can be taken after one refill of the reader.
pub(super) const PER_REFILL: usize = 5;

/// Symbols of a block: 256 bytes, less one, two for runs, one for the end.
pub(super) const SYMBOLS: usize = 258;

/// A canonical Huffman code: codes are numbered by length, and by symbol among equal lengths.
///
/// Lengths that make no complete code are taken as other decoders take them: a code that does not
/// fit any more is no code, and bits that are no code are an error where they come.
#[derive(Debug)]
pub(super) struct Table {
    /// By the next [`SHORT`] bits: the symbol, times 32, plus the length of its code; 0 if that is
    /// longer than [`SHORT`].
    short: Box<[u16; 1 << SHORT]>,
    /// For each length, the first number of [`LONGEST_CODE`] bits that begins with none of the
    /// codes up to this length.
    ends: [u32; 21],
    /// For each length, the place in `symbols` of the first with this length.
    firsts: [usize; 21],
    /// The symbols in the order of their codes.
    symbols: [u16; SYMBOLS],
}

impl Default for Table {
    fn default() -> Self {
        Self {
            short: Box::new([0; 1 << SHORT]),
            ends: [0; 21],
            firsts: [0; 21],
            symbols: [0; SYMBOLS],
        }
    }
}

impl Table {
    /// Builds the code from the length of each symbol's code, 1 to 20.
    pub fn build(&mut self, lengths: &[u8]) {
        self.short.fill(0);
        let (mut code, mut count, mut filled) = (0_u32, 0_usize, 0_usize);
        for (length, (end, first)) in (0_u32..).zip(self.ends.iter_mut().zip(&mut self.firsts)) {
            *first = count;
            let of_length = (0_u16..).zip(lengths).filter(|(_, l)| u32::from(**l) == length);
            for (symbol, _) in of_length {
                if let Some(place) = self.symbols.get_mut(count) {
                    *place = symbol;
                }
                count = count.saturating_add(1);
                code = code.saturating_add(1 << (LONGEST_CODE - length));
                if length <= SHORT {
                    let up_to = index(code >> (LONGEST_CODE - SHORT)).min(self.short.len());
                    let entries = self.short.get_mut(filled..up_to).unwrap_or_default();
                    let [low, high, ..] = length.to_le_bytes();
                    entries.fill((symbol << 5) | u16::from_le_bytes([low, high]));
                    filled = up_to;
                }
            }
            *end = code;
        }
    }

    /// Takes the next symbol; none if there is no such code. It needs [`SHORT`] bits loaded, and
    /// leaves at least that many less the length of the code.
    #[inline(always)]
    pub fn next(&self, reader: &mut Reader<'_>) -> Option<u16> {
        let bits = usize::try_from(reader.peek(SHORT)).unwrap_or_default();
        // It has less than `1 << SHORT` values, so this is no check.
        let entry = self.short.get(bits).copied().unwrap_or_default();
        if entry == 0 {
            return self.next_long(reader);
        }
        reader.consume(u32::from(entry & 31));
        Some(entry >> 5)
    }

    #[cold]
    fn next_long(&self, reader: &mut Reader<'_>) -> Option<u16> {
        reader.refill();
        let bits = u32::try_from(reader.peek(LONGEST_CODE)).ok()?;
        let rows = self.ends.iter().zip(&self.firsts).zip(0_u32..);
        let mut start = 0;
        for ((&end, &first), length) in rows {
            if bits < end {
                reader.consume(length);
                reader.refill();
                let nth = index((bits - start) >> (LONGEST_CODE - length));
                return self.symbols.get(first.saturating_add(nth)).copied();
            }
            start = end;
        }
        reader.consume(LONGEST_CODE);
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Takes a symbol bit by bit, as the first decoder of the format does it.
    fn plain(lengths: &[u8], bits: &mut impl Iterator<Item = u32>) -> Option<u16> {
        let (mut first, mut value) = (0, 0);
        for length in 1..=20 {
            value = value << 1 | bits.next()?;
            let of_length = (0..).zip(lengths).filter(|(_, l)| **l == length);
            let count = of_length.clone().count() as u32;
            if value < first + count {
                return of_length.map(|(symbol, _)| symbol).nth((value - first) as usize);
            }
            first = (first + count) << 1;
        }
        None
    }

    proptest! {
        #[test]
        fn gives_what_taking_bit_by_bit_gives(
            lengths in prop_oneof![
                prop::collection::vec(1..=20_u8, 3..=258),
                prop::collection::vec(6..=20_u8, 3..=258),
                prop::collection::vec(9..=14_u8, 3..=258),
                prop::collection::vec(1..=3_u8, 3..=9),
            ],
            bytes in prop::collection::vec(any::<u8>(), 100),
        ) {
            let mut table = Table::default();
            table.build(&[20; 258]);
            table.build(&lengths);
            let mut reader = Reader::new(&bytes, 0);
            let mut bits = (0..).map(|at| u32::from(bytes[at / 8] >> (7 - at % 8) & 1));
            for _ in 0..8 {
                reader.refill();
                for _ in 0..PER_REFILL {
                    let symbol = table.next(&mut reader);
                    prop_assert_eq!(symbol, plain(&lengths, &mut bits));
                    if symbol.is_none() {
                        return Ok(());
                    }
                }
            }
        }
    }
}
