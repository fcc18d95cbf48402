/// The most bits that [`Reader::take`] gives, and the fewest that are there after
/// [`Reader::refill`].
pub(super) const AT_ONCE: u32 = 56;

/// Bits of a slice of bytes from the highest of each byte on; behind the last byte all are 0, and
/// whether that happened [`position`](Reader::position) tells.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    /// The byte to load next.
    next: usize,
    /// The next bits, from the highest on. Below the first `count` stand more of the right ones or
    /// zeros.
    word: u64,
    /// How many bits of the word were loaded and not yet taken, at most 63.
    count: u32,
}

impl<'a> Reader<'a> {
    /// Reads from a bit on.
    pub fn new(bytes: &'a [u8], at: u64) -> Self {
        let next = usize::try_from(at / 8).unwrap_or(usize::MAX);
        let mut reader = Self { bytes, next, word: 0, count: 0 };
        reader.refill();
        let [within, ..] = (at % 8).to_le_bytes();
        reader.consume(within.into());
        reader
    }

    /// Loads at least [`AT_ONCE`] bits in all.
    #[inline(always)]
    pub fn refill(&mut self) {
        let rest = self.bytes.get(self.next..).unwrap_or_default();
        let loaded = match rest.first_chunk::<8>() {
            Some(whole) => u64::from_be_bytes(*whole),
            None => padded(rest),
        };
        self.word |= loaded >> self.count;
        // As many whole bytes as there is room for.
        self.next = self.next.saturating_add(index((63 - self.count) / 8));
        self.count |= AT_ONCE;
    }

    /// The next `count` bits, 1 to 56 and loaded, as a number.
    #[inline(always)]
    pub fn peek(&self, count: u32) -> u64 {
        self.word >> (64 - count)
    }

    /// Goes on by `count` bits that were loaded.
    #[inline(always)]
    pub fn consume(&mut self, count: u32) {
        self.word <<= count;
        self.count = self.count.wrapping_sub(count);
    }

    /// Takes `count` bits, 1 to 56, as a number.
    pub fn take(&mut self, count: u32) -> u64 {
        self.refill();
        let value = self.peek(count);
        self.consume(count);
        value
    }

    /// Takes bits that are 1, at most `most`, and the 0 behind them; returns how many. None if
    /// `most` come.
    pub fn ones(&mut self, most: u32) -> Option<usize> {
        self.refill();
        let ones = self.word.leading_ones().min(most);
        let ended = ones < most;
        self.consume(ones + u32::from(ended));
        ended.then(|| index(ones))
    }

    /// The place of the next bit; behind the end if zeros were taken there.
    pub fn position(&self) -> u64 {
        let loaded = u64::try_from(self.next).unwrap_or(u64::MAX).saturating_mul(8);
        loaded.saturating_sub(self.count.into())
    }
}

/// A small number as an index.
#[inline(always)]
pub(super) fn index(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// The last bytes, with zeros behind.
#[cold]
fn padded(rest: &[u8]) -> u64 {
    let mut padded = [0; 8];
    padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    u64::from_be_bytes(padded)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn gives_the_bits_one_by_one(
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            from in 0..60_u64,
            counts in prop::collection::vec(1..=56_u32, 0..20),
        ) {
            let bit = |at: u64| {
                bytes.get(at as usize / 8).map_or(0, |byte| u64::from(byte >> (7 - at % 8) & 1))
            };
            let (mut reader, mut at) = (Reader::new(&bytes, from), from);
            for count in counts {
                prop_assert_eq!(reader.position(), at);
                let end = at + u64::from(count);
                let expected = (at..end).fold(0, |value, at| value << 1 | bit(at));
                prop_assert_eq!(reader.take(count), expected);
                at = end;
            }
        }
    }

    #[test]
    fn ones_are_counted() {
        let mut reader = Reader::new(&[0b1110_0101, 0b1111_1111], 0);
        assert_eq!([reader.ones(6), reader.ones(6), reader.ones(6)], [Some(3), Some(0), Some(1)]);
        assert_eq!((reader.ones(6), reader.position()), (None, 13));
    }
}
