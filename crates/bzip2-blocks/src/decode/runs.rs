/// Equal bytes that are followed by a count of more.
const RUN: usize = 4;

/// Places that are searched at once.
const AT_ONCE: usize = 32;

/// Unpacks the innermost code of a block, where behind four equal bytes stands how many more of
/// them follow, and appends the data to `data`; none if the last count is missing.
pub(super) fn unpack(text: &[u8], data: &mut Vec<u8>) -> Option<()> {
    let mut rest = text;
    while let Some(at) = find_run(rest) {
        let (before, behind) = rest.split_at_checked(at.checked_add(RUN)?)?;
        let (&count, behind) = behind.split_first()?;
        data.extend_from_slice(before);
        data.resize(data.len().checked_add(count.into())?, *before.last()?);
        rest = behind;
    }
    data.extend_from_slice(rest);
    Some(())
}

/// Where the first four equal bytes are.
#[inline(always)]
fn find_run(bytes: &[u8]) -> Option<usize> {
    let mut skipped = 0;
    let mut rest = bytes;
    while let Some(some) = rest.first_chunk::<{ AT_ONCE + RUN - 1 }>() {
        if has_run(some) {
            break;
        }
        skipped += AT_ONCE;
        rest = rest.get(AT_ONCE..)?;
    }
    rest.windows(RUN)
        .position(|four| four.iter().all(|byte| Some(byte) == four.first()))
        .map(|at| skipped + at)
}

/// Whether four equal bytes begin at one of the first [`AT_ONCE`] places; all of them are compared.
#[inline(always)]
fn has_run(bytes: &[u8; AT_ONCE + RUN - 1]) -> bool {
    let mut found = 0;
    for four in bytes.windows(RUN) {
        if let &[a, b, c, d] = four {
            found |= u8::from(a == b) & u8::from(b == c) & u8::from(c == d);
        }
    }
    found != 0
}

/// The CRC of bzip2: that of zlib with the bits of each byte, and those of the result, in reverse.
pub(super) fn checksum(data: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    let mut reversed = [0; 4096];
    for part in data.chunks(reversed.len()) {
        reversed.iter_mut().zip(part).for_each(|(to, from)| *to = from.reverse_bits());
        hasher.update(reversed.get(..part.len()).unwrap_or_default());
    }
    hasher.finalize().reverse_bits()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Unpacks byte by byte.
    fn plain(text: &[u8]) -> Option<Vec<u8>> {
        let (mut data, mut equal) = (Vec::new(), 0);
        for byte in text {
            if equal == RUN {
                data.extend(vec![*data.last()?; usize::from(*byte)]);
                equal = 0;
            } else {
                equal = if equal > 0 && data.last() == Some(byte) { equal + 1 } else { 1 };
                data.push(*byte);
            }
        }
        (equal < RUN).then_some(data)
    }

    proptest! {
        #[test]
        fn gives_what_unpacking_byte_by_byte_gives(
            parts in prop::collection::vec(
                prop_oneof![
                    (any::<u8>(), 0..9_usize).prop_map(|(byte, times)| vec![byte; times]),
                    prop::collection::vec(0..3_u8, 0..20),
                    prop::collection::vec(any::<u8>(), 0..80),
                ],
                0..12,
            ),
        ) {
            let text = parts.concat();
            let mut data = Vec::new();
            prop_assert_eq!(unpack(&text, &mut data).map(|()| data), plain(&text));
        }
    }

    #[test]
    fn the_checksum_is_that_of_bzip2() {
        // The check value of CRC-32/BZIP2 in the catalogue of CRCs.
        assert_eq!(checksum(b"123456789"), 0xfc89_1918);
        assert_eq!(checksum(b""), 0);
        // Over the bounds of the parts: behind its own CRC each text has the same rest.
        let rest = |length: usize| {
            let mut data: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            data.extend(checksum(&data).to_be_bytes());
            checksum(&data)
        };
        for length in [1, 4095, 4096, 4097, 9000] {
            assert_eq!(rest(length), rest(0));
        }
    }
}
