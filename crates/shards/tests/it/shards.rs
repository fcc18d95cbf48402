//! Shards of lines: each example once an epoch, every place can be gone back to, and what a user
//! meets with files that are missing, damaged or changed.
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use shards::{Endless, ExampleSource, Fingerprint, ShardedJsonl, Shards, ShuffleConfig, rng_for};

const ENDINGS: [&str; 3] = ["jsonl", "jsonl.gz", "jsonl.zst"];

fn pack(path: &Path, text: &str) {
    let name = path.to_str().unwrap();
    let bytes = if name.ends_with(".gz") {
        // Two members, as `cat a.gz b.gz` leaves them.
        let (first, second) = text.split_at(text.len() / 2);
        [testkit::gzip(first), testkit::gzip(second)].concat()
    } else if name.ends_with(".zst") {
        let mut frame = zstd::Encoder::new(Vec::new(), 1).unwrap();
        frame.include_checksum(true).unwrap();
        frame.write_all(text.as_bytes()).unwrap();
        frame.finish().unwrap()
    } else {
        text.as_bytes().to_vec()
    };
    std::fs::write(path, bytes).unwrap();
}

/// Numbers from 0 in shards of these sizes, packed in turn; every third line is followed by a
/// blank one.
fn write(folder: &Path, sizes: &[usize]) -> Vec<PathBuf> {
    let mut next = 0;
    let mut paths = Vec::new();
    for (shard, &size) in sizes.iter().enumerate() {
        let end = |number: usize| if number.is_multiple_of(3) { "\r\n \n" } else { "\n" };
        let text: String = (next..next + size).map(|k| format!("[{k}]{}", end(k))).collect();
        next += size;
        let path = folder.join(format!("{shard:03}.{}", ENDINGS[shard % 3]));
        pack(&path, &text);
        paths.push(path);
    }
    paths
}

type Numbers = ShardedJsonl<[u64; 1]>;

fn source(paths: &[PathBuf], config: &ShuffleConfig) -> Numbers {
    Numbers::new(Shards::open(paths).unwrap(), config.clone()).unwrap()
}

fn start(source: &mut impl ExampleSource, epoch: u64) {
    source.start_epoch(epoch, rng_for(5, "order", epoch)).unwrap();
}

fn rest(source: &mut Numbers) -> Vec<u64> {
    std::iter::from_fn(|| source.next_example().unwrap()).map(|[number]| number).collect()
}

fn epoch(source: &mut Numbers, number: u64) -> Vec<u64> {
    start(source, number);
    rest(source)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, ..ProptestConfig::with_cases(testkit::cases(24))
    })]

    #[test]
    fn each_example_occurs_once_per_epoch_and_every_position_can_be_restored(
        sizes in prop::collection::vec(0usize..12, 1..7),
        lines in 1usize..9,
        bytes in 1usize..60,
        open_shards in 1usize..5,
    ) {
        let total: usize = sizes.iter().sum();
        prop_assume!(total > 0);
        let folder = tempfile::tempdir().unwrap();
        let paths = write(folder.path(), &sizes);
        let config = ShuffleConfig { lines, bytes, open_shards };
        let mut first = source(&paths, &config);
        prop_assert_eq!(first.examples(), Some(total as u64));
        start(&mut first, 2);
        let (mut all, mut places) = (Vec::new(), vec![first.position()]);
        while let Some([number]) = first.next_example().unwrap() {
            all.push(number);
            places.push(first.position());
        }
        let mut sorted = all.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..total as u64).collect::<Vec<_>>());
        // From every place, by another source, through the JSON of a checkpoint.
        let mut second = source(&paths, &config);
        for (number, place) in places.into_iter().enumerate() {
            let json = serde_json::to_string(&place).unwrap();
            start(&mut second, 2);
            second.seek(serde_json::from_str(&json).unwrap()).unwrap();
            prop_assert_eq!(second.position(), place);
            prop_assert_eq!(rest(&mut second), &all[number..], "place {}", number);
        }
    }
}

#[test]
fn epochs_seeds_and_buffers_give_orders_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), &[40, 40, 40]);
    let config = ShuffleConfig { lines: 30, ..ShuffleConfig::default() };
    let mut one = source(&paths, &config);
    let (first, second) = (epoch(&mut one, 0), epoch(&mut one, 1));
    assert_ne!(first, second);
    assert_eq!(epoch(&mut one, 0), first);
    assert_ne!(
        epoch(&mut source(&paths, &ShuffleConfig { lines: 31, ..config.clone() }), 0),
        first
    );
    // Neighbours are not those of the file, and a block holds lines of all open shards.
    let neighbours = first.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
    assert!(neighbours < 12, "{neighbours} of 119 in the order of the files");
    for shard in 0..3 {
        let from_shard = first[..30].iter().filter(|number| *number / 40 == shard).count();
        assert_eq!(from_shard, 10);
    }
    // A block of one line: the shards in turn, and nothing else.
    let in_turn = epoch(&mut source(&paths, &ShuffleConfig { lines: 1, ..config }), 0);
    assert!((0..3).all(|shard| in_turn.iter().filter(|k| *k / 40 == shard).is_sorted()));
}

#[test]
fn compression_and_location_of_shards_do_not_change_examples() {
    let text: String = (0..50).map(|k| format!("[{k}]\n")).collect();
    let mut seen = Vec::new();
    for ending in ENDINGS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("numbers.{ending}"));
        pack(&path, &text);
        let mut numbers = source(&[path], &ShuffleConfig { lines: 20, ..Default::default() });
        let mut fingerprint = Fingerprint::new();
        numbers.fingerprint(&mut fingerprint);
        seen.push((epoch(&mut numbers, 0), fingerprint.finish().unwrap()));
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);
}

#[test]
fn every_position_of_endless_epochs_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), &[5, 7, 4]);
    let config = ShuffleConfig { lines: 3, ..ShuffleConfig::default() };
    let make = || Endless::new(source(&paths, &config));
    let mut whole = make();
    start(&mut whole, 0);
    assert_eq!(whole.examples(), Some(16));
    let mut all = Vec::new();
    let mut places = Vec::new();
    for _ in 0..40 {
        places.push(serde_json::to_string(&whole.position()).unwrap());
        all.push(whole.next_example().unwrap().unwrap());
    }
    for epoch in all.chunks_exact(16) {
        let mut numbers: Vec<u64> = epoch.iter().map(|[number]| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..16).collect::<Vec<_>>());
    }
    assert_ne!(all[..16], all[16..32], "each epoch has its own order");
    for (number, place) in places.iter().enumerate() {
        let mut other = make();
        start(&mut other, 0);
        other.seek(serde_json::from_str(place).unwrap()).unwrap();
        let rest: Vec<_> = (number..40).map(|_| other.next_example().unwrap().unwrap()).collect();
        assert_eq!(rest, all[number..]);
    }
}

fn refused(paths: &[PathBuf]) -> String {
    Shards::open(paths).unwrap_err().to_string()
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    assert!(refused(&[]).starts_with("shards = none: must be one file or more"));
    assert!(refused(&[at("none.jsonl")]).contains("none.jsonl: No such file"));
    assert!(refused(&[folder.path().into()]).contains("the folder holds no *.jsonl or *.txt"));
    std::fs::write(at("blank.jsonl"), "\n \n").unwrap();
    assert!(refused(&[folder.path().into()]).ends_with("blank.jsonl: holds no line"));
    // A packed file that is cut off, or whose bytes are others.
    let text: String = (0..2000).map(|k| format!("[{}]\n", k * k)).collect();
    for name in ["part.jsonl.gz", "part.jsonl.zst"] {
        pack(&at(name), &text);
        let bytes = std::fs::read(at(name)).unwrap();
        std::fs::write(at(name), &bytes[..bytes.len() / 2]).unwrap();
        let error = refused(&[at(name)]);
        assert!(error.contains(name) && error.contains("cut off"), "{error}");
        let mut other = bytes.clone();
        let middle = bytes.len() / 4;
        other[middle..middle + 40].fill(0xa5);
        std::fs::write(at(name), other).unwrap();
        let error = refused(&[at(name)]);
        assert!(error.contains(name) && error.contains("after line"), "{error}");
    }
}

#[test]
fn what_is_called_like_a_shard_and_cannot_be_read_is_named() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("a.jsonl"), "[1]\n").unwrap();
    let other = folder.path().join(OsStr::from_bytes(b"\xff.txt"));
    type Made<'a> = (&'a Path, &'a str, &'a dyn Fn(&Path));
    let make: [Made<'_>; 4] = [
        (&at("z.txt"), "No such file", &|path| symlink("/nowhere", path).unwrap()),
        (&at("z.jsonl.gz"), "symbolic links", &|path| symlink(path, path).unwrap()),
        (&at("z.parquet"), "no file, though", &|path| std::fs::create_dir(path).unwrap()),
        (&other, "not UTF-8; rename it", &|path| std::fs::write(path, "[2]\n").unwrap()),
    ];
    for (path, said, make) in make {
        make(path);
        let error = refused(&[folder.path().into()]);
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
        assert!(error.contains(said), "{error}");
        let removed = if path.is_dir() { std::fs::remove_dir } else { std::fs::remove_file };
        removed(path).unwrap();
    }
    // Hidden ones are nobody's shards; others are not called like one.
    symlink("/nowhere", at(".z.txt")).unwrap();
    std::fs::create_dir(at("notes")).unwrap();
    assert_eq!(Shards::open([folder.path()]).unwrap().files().len(), 1);
}

#[test]
fn a_duplicate_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("t")).unwrap();
    std::fs::write(at("t/a.jsonl"), "[1]\n").unwrap();
    for twice in [[at("t/a.jsonl"), at("t/a.jsonl")], [at("t"), at("t/../t/a.jsonl")]] {
        let error = refused(&twice);
        assert!(
            error.ends_with("a.jsonl: is named twice among the shards; name it once"),
            "{error}"
        );
    }
    // A store of equal files has one for two names.
    std::os::unix::fs::symlink("a.jsonl", at("t/b.jsonl")).unwrap();
    assert_eq!(Shards::open([at("t")]).unwrap().lines(), 2);
}

#[test]
fn marks_and_a_missing_last_line_end_are_passed_over_however_a_shard_is_packed() {
    for ending in ENDINGS {
        for text in ["\u{feff}[0]\n[1]\n", "[0]\n[1]"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("marked.{ending}"));
            pack(&path, text);
            let mut numbers = source(&[path], &ShuffleConfig::default());
            let mut all = epoch(&mut numbers, 0);
            all.sort_unstable();
            assert_eq!(all, [0, 1], "{ending}, {text:?}");
        }
    }
}

#[test]
fn errors_in_lines_name_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, "[1]\n\n[\"x\"]\n").unwrap();
    let mut numbers = source(std::slice::from_ref(&path), &ShuffleConfig::default());
    start(&mut numbers, 0);
    let error = loop {
        match numbers.next_example() {
            Ok(example) => assert!(example.is_some()),
            Err(error) => break error.to_string(),
        }
    };
    let want = "rows.jsonl: line 3, column 4: invalid type: string \"x\", expected u64";
    assert!(error.ends_with(want), "{error}");
    let visit = |line: shards::ShardLine<'_>| line.parse::<[u64; 1]>().map(|_| ());
    let error = Shards::open_with([&path], visit).unwrap_err().to_string();
    assert!(error.ends_with(want), "{error}");
}

#[test]
fn a_file_that_changed_is_noticed_and_a_new_time_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write(folder.path(), &[4]);
    let mut numbers = source(&paths, &ShuffleConfig::default());
    let before = epoch(&mut numbers, 0);
    let text = std::fs::read(&paths[0]).unwrap();
    let file = std::fs::File::options().append(true).open(&paths[0]).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(epoch(&mut numbers, 0), before);
    std::fs::write(&paths[0], String::from_utf8(text).unwrap().replace("[1]", "[9]")).unwrap();
    start(&mut numbers, 1);
    let error = numbers.next_example().unwrap_err().to_string();
    assert!(error.contains("000.jsonl: the file changed"), "{error}");
}
