use std::io::Write;

use bzip2::write::BzEncoder;
use bzip2::{Compression, Decompress};
use proptest::prelude::*;

use super::*;

/// Bytes before the CRC of the first block.
const CRC_AT: usize = 10;
/// The byte with the bit that says that the first block is randomised.
const RANDOMISED_AT: usize = CRC_AT + 4;

fn pack(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

/// All from the first block on.
fn segment(file: &[u8]) -> Segment {
    Segment::new(file[4..].to_vec(), 32, file.len() as u64 * 8)
}

/// What libbz2 gives out of the first stream before it ends or fails.
fn libbz2(file: &[u8]) -> Vec<u8> {
    let mut decoder = Decompress::new(false);
    let mut bytes = Vec::with_capacity(1 << 20);
    let mut taken = 0;
    loop {
        let before = (taken, bytes.len());
        if decoder.decompress_vec(&file[taken..], &mut bytes).is_err() {
            return bytes;
        }
        taken = decoder.total_in() as usize;
        if (taken, bytes.len()) == before {
            return bytes;
        }
        bytes.reserve(1 << 20);
    }
}

/// Data of one block at any level, but for very long runs.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let letters = |count: u8, length: usize| prop::collection::vec(0..count, 1..length);
    let run = (any::<u8>(), 1..600_usize).prop_map(|(byte, length)| vec![byte; length]);
    let part = prop_oneof![
        letters(2, 400),
        letters(4, 60),
        letters(30, 300),
        prop::collection::vec(any::<u8>(), 1..3000),
        run,
        Just((0..=255).collect()),
        Just(b"The quick brown fox jumps over the lazy dog. ".to_vec()),
    ];
    let repeated = (part, prop_oneof![3 => Just(1), 1 => 1..30_usize]);
    prop::collection::vec(repeated, 1..6)
        .prop_map(|parts| parts.iter().flat_map(|(part, times)| part.repeat(*times)).collect())
        .prop_map(|mut data: Vec<u8>| {
            data.truncate(60_000);
            data
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::cases(48)))]
    #[test]
    fn gives_the_data_and_the_end(data in data(), level in 1..=9_u8, before in 0..16_u64) {
        let file = pack(&data, level.into());
        prop_assert_eq!(&libbz2(&file), &data);
        // At any bit, with the end of the stream behind.
        let bits = file.iter().skip(4).flat_map(|byte| (0..8).rev().map(move |at| byte >> at & 1));
        let bits: Vec<u8> = (0..before % 8).map(|_| 1).chain(bits).collect();
        let bytes: Vec<u8> = bits
            .chunks(8)
            .map(|eight| (0..8).fold(0, |byte, at| byte << 1 | eight.get(at).unwrap_or(&1)))
            .collect();
        let end = before + (file.len() as u64 - 4) * 8;
        let mut decoder = Decoder::default();
        let block = decoder.decode(&Segment::new(bytes.clone(), before, end), level).unwrap();
        prop_assert_eq!(&block.bytes, &data);
        // 80 bits end a stream, and at most 7 fill its last byte.
        prop_assert!((80..88).contains(&(end - block.end)), "{} of {end}", block.end);
        // One bit less is too little.
        let short = Segment::new(bytes, before, block.end - 1);
        prop_assert_eq!(decoder.decode(&short, level).unwrap_err(), Failure::Behind);
        prop_assert_eq!(decoder.decode(&segment(&file), level).unwrap().bytes, data);
    }

    /// With the CRC that the damaged data have, so that what comes of damaged tables and codes is
    /// compared and not only refused.
    #[test]
    fn damaged_bits_give_what_they_give_in_libbz2(
        data in data(),
        flips in prop::collection::vec(
            prop::collection::vec(prop_oneof![any::<usize>(), 0..1500_usize], 1..4),
            20,
        ),
    ) {
        let good = pack(&data[..data.len().min(5000)], 1);
        let mut decoder = Decoder::default();
        for bits in flips {
            let mut file = good.clone();
            for bit in bits {
                let bit = RANDOMISED_AT * 8 + bit % ((file.len() - RANDOMISED_AT) * 8);
                file[bit / 8] ^= 1 << (bit % 8);
            }
            let expected = libbz2(&file);
            let crc = runs::checksum(&expected);
            file[CRC_AT..RANDOMISED_AT].copy_from_slice(&crc.to_be_bytes());
            match decoder.decode(&segment(&file), 1) {
                Ok(block) => {
                    prop_assert!(!block.bytes.is_empty());
                    prop_assert!(block.bytes == expected);
                }
                // It gives out data before it sees that the count of the last run is missing.
                Err(error) => {
                    let run = expected.len().checked_sub(4).map(|at| &expected[at..]);
                    let is_run = run.is_some_and(|run| run.iter().all(|byte| *byte == run[0]));
                    prop_assert!(expected.is_empty() || is_run, "{:?}", error);
                }
            }
        }
    }

    #[test]
    fn noise_for_a_block_is_no_block(mut bytes in prop::collection::vec(any::<u8>(), 10..3000)) {
        // A magic number, a CRC and the place of the text; all else is noise.
        let begin = [0x31, 0x41, 0x59, 0x26, 0x53, 0x59, 0, 0, 0, 0, 0, 0, 0];
        bytes.splice(..0, begin);
        let end = bytes.len() as u64 * 8;
        let result = Decoder::default().decode(&Segment::new(bytes, 0, end), 1);
        prop_assert!(result.is_err());
    }
}

#[test]
fn the_longest_block_of_each_level_fits_and_no_longer_one() {
    let mut decoder = Decoder::default();
    for level in [1, 2, 9] {
        // No runs of four: a block of libbz2 has 19 bytes less than it may have.
        let data: Vec<u8> = (0..u32::from(level) * 100_000 - 19)
            .map(|n| (n.wrapping_mul(2_654_435_761) >> 11) as u8)
            .collect();
        let file = segment(&pack(&data, level.into()));
        assert!(decoder.decode(&file, level).unwrap().bytes == data);
        assert_eq!(decoder.decode(&file, level - 1).unwrap_err(), Failure::Damaged);
    }
}

#[test]
fn a_long_run_and_periods_are_unpacked() {
    let mut decoder = Decoder::default();
    for data in [vec![7; 4_000_000], b"ab".repeat(40_000), b"abcabd".repeat(15_000), vec![1; 3]] {
        assert!(decoder.decode(&segment(&pack(&data, 1)), 1).unwrap().bytes == data);
    }
}

#[test]
fn a_randomised_block_is_changed_back() {
    // Numbers that hardly ever make runs, with and without the bits that are changed.
    let data: Vec<u8> = (0..90_000_u32).map(|n| (n % 251) as u8 & 0xfe).collect();
    let mut changed = data.clone();
    randomised::undo(&mut changed);
    assert_eq!(changed.iter().zip(&data).position(|(one, other)| one != other), Some(617));
    let mut file = pack(&changed, 1);
    let crc = runs::checksum(&data).to_be_bytes();
    file[CRC_AT..RANDOMISED_AT].copy_from_slice(&crc);
    file[RANDOMISED_AT] |= 0x80;
    assert!(libbz2(&file) == data);
    let block = Decoder::default().decode(&segment(&file), 1).unwrap();
    assert!(block.bytes == data);
}

#[test]
fn wrong_checksums_are_told_from_damage() {
    let mut file = pack(b"some data", 1);
    file[CRC_AT] ^= 1;
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&segment(&file), 1).unwrap_err(), Failure::Checksum);
    // No byte values at all.
    let mut empty = pack(b"some data", 1);
    empty[RANDOMISED_AT + 3..].fill(0);
    assert_eq!(decoder.decode(&segment(&empty), 1).unwrap_err(), Failure::Damaged);
    // A first row behind the last.
    let mut far = pack(b"some data", 1);
    far[RANDOMISED_AT + 2] |= 0x40;
    assert_eq!(decoder.decode(&segment(&far), 1).unwrap_err(), Failure::Damaged);
}
