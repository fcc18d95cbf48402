use super::bits::{BLOCK, MAGIC_BITS, STREAM_END, bits_at, byte_index};

/// A bit for each pair of bytes: whether the pair stands inside one of the two magic numbers at one
/// of the eight shifts.
///
/// Six or seven bytes hold a magic number. The second to the sixth hold nothing else, so that the
/// four pairs among them are known, and one of the four begins at a multiple of four.
static PAIRS: [u64; 1024] = pairs();

const fn pairs() -> [u64; 1024] {
    let mut table = [0; 1024];
    let mut case = 0;
    // Two numbers, eight shifts, four pairs.
    while case < 64 {
        let magic = if case % 2 == 0 { BLOCK } else { STREAM_END };
        let shift = case / 2 % 8;
        let pair = case / 16 + 1;
        // The number at `shift` in 64 bits, of which the pair is the bytes `pair` and `pair + 1`.
        let word = magic << (64 - MAGIC_BITS) >> shift;
        let value = (word >> (48 - 8 * pair)) & 0xffff;
        // Sixteen bits without the last six: an index below 1024.
        table[(value >> 6) as usize] |= 1 << (value & 63);
        case += 1;
    }
    table
}

/// Whether a magic number may lie here: no for all but a thousandth of random pairs.
fn is_known(first: u8, second: u8) -> bool {
    let pair = u16::from_be_bytes([first, second]);
    PAIRS.get(usize::from(pair >> 6)).is_some_and(|word| word >> (pair & 63) & 1 == 1)
}

/// A search for magic numbers at any bit, over bytes that come in portions.
#[derive(Debug, Default)]
pub(super) struct Scan {
    /// Byte from which to search on.
    next: usize,
}

impl Scan {
    /// The first magic number of `bytes` at bit `from` or later, and its place. None if there is no
    /// other in what was searched; the search goes on from there when there are more bytes. At the
    /// end of the file (`last`) everything is searched.
    ///
    /// Bits before `from` are not searched again, so `from` must not go back.
    pub fn find(&mut self, bytes: &[u8], from: u64, last: bool) -> Option<(u64, u64)> {
        // To look at a pair takes the four bytes behind it too.
        let known = if last { bytes.len() } else { bytes.len().saturating_sub(4) };
        loop {
            let rest = bytes.get(self.next..known).unwrap_or_default();
            let (fours, remainder) = rest.as_chunks::<4>();
            let hit = fours.iter().position(|&[first, second, ..]| is_known(first, second));
            match (hit, remainder) {
                (Some(hit), _) => self.next = self.next.saturating_add(4 * hit),
                (None, &[first, second, ..]) if last => {
                    self.next = self.next.saturating_add(4 * fours.len());
                    if !is_known(first, second) {
                        return None;
                    }
                    return self.near(bytes, from);
                }
                (None, _) => {
                    self.next = self.next.saturating_add(4 * fours.len());
                    return None;
                }
            }
            if let Some(found) = self.near(bytes, from) {
                return Some(found);
            }
            self.next = self.next.saturating_add(4);
        }
    }

    /// The first magic number at bit `from` or later that has a known pair at `next`.
    fn near(&self, bytes: &[u8], from: u64) -> Option<(u64, u64)> {
        let pair = u64::try_from(self.next).ok()?.checked_mul(8)?;
        let first = pair.saturating_sub(32).max(from);
        (first..pair).find_map(|bit| {
            let whole = byte_index(bit + MAGIC_BITS + 7) <= bytes.len();
            let value = bits_at(bytes, bit, MAGIC_BITS);
            (whole && (value == BLOCK || value == STREAM_END)).then_some((bit, value))
        })
    }

    /// Byte before which every magic number has been found.
    pub fn searched(&self) -> usize {
        self.next.saturating_sub(4)
    }

    /// Takes note that `count` bytes were dropped from the front, none of them behind the byte with
    /// the last number found or behind `searched`.
    pub fn dropped(&mut self, count: usize) {
        self.next = self.next.saturating_sub(count);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All magic numbers, bit by bit.
    fn plain(bytes: &[u8]) -> Vec<(u64, u64)> {
        let (mut word, mut found) = (0_u64, Vec::new());
        for bit in 0..bytes.len() * 8 {
            word = (word << 1 | u64::from(bytes[bit / 8] >> (7 - bit % 8) & 1)) & ((1 << 48) - 1);
            if bit >= 47 && (word == BLOCK || word == STREAM_END) {
                found.push((bit as u64 - 47, word));
            }
        }
        found
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn finds_what_a_search_bit_by_bit_finds(
            mut bytes in prop::collection::vec(any::<u8>(), 0..120),
            planted in prop::collection::vec((0..900_usize, any::<bool>()), 0..8),
            portion in 1..50_usize,
        ) {
            for (at, is_block) in planted {
                let magic = if is_block { BLOCK } else { STREAM_END };
                for bit in at..(at + 48).min(bytes.len() * 8) {
                    let value = (magic >> (47 - (bit - at)) & 1) as u8;
                    let mask = 1 << (7 - bit % 8);
                    bytes[bit / 8] = bytes[bit / 8] & !mask | (value * mask);
                }
            }
            let (mut scan, mut found, mut from, mut length) = (Scan::default(), vec![], 0, 0);
            while length < bytes.len() {
                length = (length + portion).min(bytes.len());
                let last = length == bytes.len();
                while let Some((bit, magic)) = scan.find(&bytes[..length], from, last) {
                    found.push((bit, magic));
                    from = bit + 1;
                }
            }
            prop_assert_eq!(found, plain(&bytes));
        }
    }
}
