use std::io::{Cursor, ErrorKind, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use bzip2::Compression;
use bzip2::read::MultiBzDecoder;
use bzip2::write::BzEncoder;
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::bits::{BLOCK, STREAM_END};
use super::*;

/// One stream.
fn pack(data: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = BzEncoder::new(Vec::new(), Compression::new(level));
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn unpack(packed: impl Into<Vec<u8>>, threads: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    ParallelBzip2::new(Cursor::new(packed.into()), threads)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn one_thread(packed: &[u8]) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    MultiBzDecoder::new(packed).read_to_end(&mut bytes).map(|_| bytes)
}

/// Data that hardly pack.
fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    (0..length).map(|_| generator.random()).collect()
}

/// Data of several blocks at level 1 that pack to a few hundred bytes.
fn regular(length: usize) -> Vec<u8> {
    b"abcdefg".iter().copied().cycle().take(length).collect()
}

/// Data whose block has a magic number inside: the table of the byte values that a block has is one
/// bit for each value, and in this table it stands, from bit `at` of 256.
fn with_magic_inside(magic: u64, at: usize, length: usize) -> Vec<u8> {
    // The table has no rows for groups of sixteen values that are absent, so each group has one.
    let mut values: Vec<usize> = (0..256).step_by(16).filter(|v| *v + 15 < at).collect();
    values.extend((0..256).step_by(16).filter(|v| *v >= at + 48));
    values.extend((0..48).filter(|bit| magic >> (47 - bit) & 1 == 1).map(|bit| at + bit));
    for group in (0..256).step_by(16) {
        if !values.iter().any(|value| (group..group + 16).contains(value)) {
            let edge = if group < at { group } else { group + 15 };
            assert!(edge < at || edge >= at + 48);
            values.push(edge);
        }
    }
    // No byte twice in a row: the count of a long run would be a value of its own.
    let mut generator = ChaCha8Rng::seed_from_u64(at as u64);
    let steps = (0..length).map(|_| generator.random_range(1..values.len()));
    let indices = steps.scan(0, |index, step| {
        *index = (*index + step) % values.len();
        Some(*index)
    });
    indices.map(|index| values[index] as u8).collect()
}

/// Number of magic numbers, and thus of places where the file is cut.
fn cuts(packed: &[u8]) -> usize {
    let (mut scan, mut from, mut count) = (scan::Scan::default(), 0, 0);
    while let Some((bit, _)) = scan.find(packed, from, true) {
        (from, count) = (bit + 1, count + 1);
    }
    count
}

/// Gives a few bytes at a time.
struct Portions<R>(R, ChaCha8Rng);

impl<R: Read> Read for Portions<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.1.random_range(0..10) == 0 {
            return Err(ErrorKind::Interrupted.into());
        }
        let length = self.1.random_range(1..=buffer.len().min(5000));
        self.0.read(&mut buffer[..length])
    }
}

fn data() -> impl Strategy<Value = Vec<u8>> {
    let random = (0..150_000_usize, any::<u64>()).prop_map(|(length, seed)| noise(length, seed));
    let run = (any::<u8>(), 0..400_000_usize).prop_map(|(byte, length)| vec![byte; length]);
    let words = (0..300_000_usize).prop_map(regular);
    let short = prop::collection::vec(any::<u8>(), 0..4);
    let part = prop_oneof![2 => random, 2 => run, 1 => words, 1 => short];
    prop::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::cases(24)))]
    #[test]
    fn gives_what_a_sequential_decoder_gives(
        streams in prop::collection::vec((data(), prop_oneof![3 => Just(1), 1 => 1..=9_u32]), 1..4),
        seed in any::<u64>(),
        many in any::<bool>(),
    ) {
        let packed: Vec<u8> =
            streams.iter().flat_map(|(data, level)| pack(data, *level)).collect();
        let expected = one_thread(&packed).unwrap();
        let input = Portions(Cursor::new(packed), ChaCha8Rng::seed_from_u64(seed));
        let threads = if many { 3 } else { 1 };
        let mut reader =
            Portions(ParallelBzip2::new(input, threads).unwrap(), ChaCha8Rng::seed_from_u64(seed));
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).unwrap();
        prop_assert!(bytes == expected);
    }
}

#[test]
fn a_magic_number_inside_of_a_block_is_data() {
    for (case, at) in (0..208).step_by(13).enumerate() {
        for magic in [BLOCK, STREAM_END] {
            let data = with_magic_inside(magic, at, 120_000);
            let packed = pack(&data, 1);
            // Two blocks, the end, and one inside of each block.
            assert_eq!(cuts(&packed), 5, "at {at}");
            assert!(unpack(packed.clone(), case % 3 + 1).unwrap() == data, "at {at}");
            // Followed by blocks without, and by one of its kind.
            let rest = noise(30_000, at as u64);
            let file =
                [packed, pack(&rest, 2), pack(&data[..9], 9), pack(&data[..500], 3)].concat();
            let expected = [&data, rest.as_slice(), &data[..9], &data[..500]].concat();
            assert!(unpack(file, 2).unwrap() == expected, "at {at}");
        }
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let first = pack(&regular(150_000), 1);
    let file = [first.clone(), pack(b"", 9), pack(&regular(120_000), 2)].concat();
    let between = [first.len(), first.len() + pack(b"", 9).len()];
    assert!(file.len() < 1500, "{}", file.len());
    let whole = one_thread(&file).unwrap();
    for length in 1..file.len() {
        let mut reader = ParallelBzip2::new(Cursor::new(file[..length].to_vec()), 1).unwrap();
        let mut bytes = Vec::new();
        let result = reader.read_to_end(&mut bytes);
        assert!(whole.starts_with(&bytes));
        if between.contains(&length) {
            assert_eq!(result.unwrap(), 150_000);
            continue;
        }
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{length}: {error}");
        assert!(error.to_string().contains(&format!("ends at byte {length},")), "{error}");
        // The error stays.
        assert_eq!(reader.read(&mut [0]).unwrap_err().to_string(), error.to_string());
    }
}

#[test]
fn a_flipped_bit_is_an_error_or_means_nothing() {
    let file = [pack(&regular(110_000), 1), pack(b"something short", 2)].concat();
    let whole = one_thread(&file).unwrap();
    let step = if testkit::long() { 1 } else { 3 };
    let mut harmless = 0;
    for bit in (0..file.len() * 8).step_by(step) {
        let mut damaged = file.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        match unpack(damaged.clone(), 1) {
            Ok(bytes) => {
                assert!(bytes == whole, "bit {bit}");
                assert!(one_thread(&damaged).unwrap() == whole, "bit {bit}");
                harmless += 1;
            }
            Err(error) => {
                let kinds = [ErrorKind::InvalidData, ErrorKind::UnexpectedEof];
                assert!(kinds.contains(&error.kind()), "bit {bit}: {error:?}");
                assert!(error.to_string().contains(" at byte "), "bit {bit}: {error}");
                assert!(one_thread(&damaged).is_err(), "bit {bit}: {error}");
            }
        }
    }
    // Digits of levels, the bits that fill the last byte of a stream, and lengths of codes that no
    // symbol has.
    assert!(harmless < 60, "{harmless}");
}

#[test]
fn errors_say_what_and_where() {
    let good = pack(b"some data", 9);
    let message = |file: &[u8]| {
        let error = unpack(file, 2).unwrap_err();
        (error.kind(), error.to_string())
    };
    let invalid = |file: &[u8], what: &str| {
        let (kind, message) = message(file);
        assert_eq!(kind, ErrorKind::InvalidData, "{message}");
        assert!(message.contains(what), "{message}");
    };
    invalid(b"", "at byte 0 (bit 0): the file is empty, so it is no bzip2 file");
    invalid(b"{\"id\":1}", "at byte 0 (bit 0): expected BZh and a level");
    invalid(b"BZh0", "at byte 0 (bit 0): expected BZh and a level");
    invalid(b"no", "at byte 0 (bit 0): this is no bzip2 file");
    invalid(b"BZh9 and then nothing of the kind", "at byte 4 (bit 0): neither a block");
    let end = good.len();
    let other = format!("at byte {end} (bit 0): expected the end of the file or another stream");
    for garbage in [&b"\n"[..], b"garbage", &[0; 3], b"BZ9", &noise(9 << 20, 3), &vec![0; 9 << 20]]
    {
        invalid(&[&good, garbage].concat(), &other);
    }
    assert_eq!(
        message(&[&good[..], b"BZ"].concat()),
        (
            ErrorKind::UnexpectedEof,
            format!(
                "bzip2: the file was cut short: it ends at byte {}, inside the header of a stream, \
                 at byte {end} (bit 0)",
                end + 2
            )
        )
    );
    let mut wrong_crc = good.clone();
    wrong_crc[10] ^= 1;
    invalid(&wrong_crc, "at byte 4 (bit 0): the data of this block do not match its CRC");
    // The last two bytes hold bits of the combined CRC; the block itself is given out.
    let mut wrong_end = good.clone();
    wrong_end[end - 2] ^= 1;
    invalid(&wrong_end, "the stream ends with CRC");
    assert_eq!(
        ParallelBzip2::new(Cursor::new(wrong_end), 1).unwrap().fill_buf().unwrap(),
        b"some data"
    );
    // A block that goes on for ever.
    let endless = [&pack(&noise(50_000, 4), 1)[..20_000], &vec![0xff; 9 << 20]].concat();
    invalid(&endless, "at byte 4 (bit 0): ");
}

#[test]
fn an_input_that_fails_is_named() {
    struct Fails;
    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::new(ErrorKind::TimedOut, "the disk is gone"))
        }
    }
    let good = pack(&noise(250_000, 5), 1);
    let length = good.len() - 5;
    let mut reader =
        ParallelBzip2::new(Cursor::new(good).take(length as u64).chain(Fails), 2).unwrap();
    let mut bytes = Vec::new();
    let error = reader.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let message = format!("cannot read the compressed file at byte {length}: the disk is gone");
    assert_eq!(error.to_string(), message);
    // Both blocks that are whole came before.
    assert!(bytes.len() > 190_000, "{}", bytes.len());
}

#[test]
fn any_block_can_be_resumed_at() {
    let data = [noise(250_000, 6), with_magic_inside(BLOCK, 77, 150_000)];
    let file = [pack(&data[0], 1), pack(b"", 3), pack(&data[1], 1)].concat();
    let data = data.concat();
    let blocks = Bzip2Blocks::new(Cursor::new(file.clone()), 2).unwrap();
    let (mut taken, mut count) = (0, 0);
    for block in blocks.map(Result::unwrap) {
        for (place, from) in [(block.start, taken), (block.end, taken + block.bytes.len())] {
            let rest = Bzip2Blocks::resume_at(Cursor::new(file.clone()), place, 2).unwrap();
            let rest: Vec<u8> = rest.flat_map(|block| block.unwrap().bytes).collect();
            assert!(rest == data[from..]);
        }
        taken += block.bytes.len();
        count += 1;
    }
    assert_eq!((taken, count), (data.len(), 5));

    let resume = |place| Bzip2Blocks::resume_at(Cursor::new(file.clone()), place, 1);
    let place = |bit_offset, level| BlockStart { bit_offset, level, combined_crc: 0 };
    let end = file.len() as u64 * 8;
    assert!(resume(place(end, None)).unwrap().next().is_none());
    for wrong in [place(end + 8, None), place(3, None), place(32, Some(0)), place(32, Some(10))] {
        assert_eq!(resume(wrong).unwrap_err().kind(), ErrorKind::InvalidInput);
    }
    for wrong in [place(33, Some(1)), place(320, None), place(4321, Some(1))] {
        let error = resume(wrong).unwrap().next().unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    }
    let other_crc = BlockStart { combined_crc: 1, ..place(32, Some(1)) };
    let error = resume(other_crc).unwrap().find_map(Result::err).unwrap();
    assert!(error.to_string().contains("the stream ends with CRC"), "{error}");
}

#[test]
fn reading_goes_on_behind_any_line() {
    let lines: Vec<String> = (0..30_000).map(|n| format!("{{\"id\": \"Q{n}\"}},\n")).collect();
    let file = pack(lines.concat().as_bytes(), 1);
    let mut reader = ParallelBzip2::new(Cursor::new(file.clone()), 2).unwrap();
    assert_eq!(reader.position(), ReadPosition::default());
    for (number, expected) in lines.iter().enumerate() {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, *expected);
        if number % 1000 == 0 {
            let file = Cursor::new(file.clone());
            let mut resumed = ParallelBzip2::resume_at(file, reader.position(), 1).unwrap();
            assert_eq!(resumed.position(), reader.position());
            let mut next = String::new();
            resumed.read_line(&mut next).unwrap();
            assert_eq!(next, lines[number + 1]);
        }
    }
    assert!(reader.fill_buf().unwrap().is_empty());
    let mut resumed =
        ParallelBzip2::resume_at(Cursor::new(file.clone()), reader.position(), 1).unwrap();
    assert_eq!(resumed.read(&mut [0]).unwrap(), 0);
    let behind = ReadPosition { skip: 1 << 30, ..ReadPosition::default() };
    let error = ParallelBzip2::resume_at(Cursor::new(file), behind, 1).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn the_file_is_not_read_far_ahead_of_the_caller() {
    /// Counts what is read.
    struct Counted(Cursor<Vec<u8>>, Arc<AtomicUsize>);
    impl Read for Counted {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.read(buffer)?;
            self.1.fetch_add(count, Ordering::SeqCst);
            Ok(count)
        }
    }
    // Fifty streams of one block of 100 kB.
    let stream = pack(&noise(100_000 - 100, 7), 1);
    let count = Arc::new(AtomicUsize::new(0));
    let input = Counted(Cursor::new(stream.repeat(50)), Arc::clone(&count));
    let mut blocks = Bzip2Blocks::new(input, 2).unwrap();
    for taken in 0..50 {
        // Long enough for the threads to read all they will.
        sleep(Duration::from_millis(if taken < 5 { 100 } else { 1 }));
        let read = count.load(Ordering::SeqCst);
        // Four in flight, two at the caller, and what is read at once.
        let bound = (taken + 7) * stream.len() + (512 << 10);
        assert!(read <= bound, "{read} bytes after {taken} blocks");
        blocks.next().unwrap().unwrap();
    }
    assert!(blocks.next().is_none());
}

#[test]
fn dropping_early_ends_the_threads() {
    struct Tells(Cursor<Vec<u8>>, Arc<AtomicUsize>);
    impl Read for Tells {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }
    impl Drop for Tells {
        fn drop(&mut self) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let dropped = Arc::new(AtomicUsize::new(0));
    let file = pack(&noise(100_000, 8), 1).repeat(40);
    let input = Tells(Cursor::new(file), Arc::clone(&dropped));
    let mut blocks = Bzip2Blocks::new(input, 3).unwrap();
    blocks.next().unwrap().unwrap();
    drop(blocks);
    for _ in 0..1000 {
        if dropped.load(Ordering::SeqCst) == 1 {
            return;
        }
        sleep(Duration::from_millis(10));
    }
    panic!("the input is still held");
}
