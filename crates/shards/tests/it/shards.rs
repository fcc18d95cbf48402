//! Tests of shards of lines: examples, positions, and errors for missing, damaged or changed files.
use std::io::Write;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use shards::{Endless, ExampleSource, Fingerprint, ShardedJsonl, Shards, ShuffleConfig, rng_for};

const EXTENSIONS: [&str; 3] = ["jsonl", "jsonl.gz", "jsonl.zst"];

fn write_compressed(path: &Path, text: &str) {
    let name = path.to_str().unwrap();
    let bytes = if name.ends_with(".gz") {
        // Two gzip members, as in concatenated gzip files.
        let (first, second) = text.split_at(text.len() / 2);
        [testkit::gzip(first), testkit::gzip(second)].concat()
    } else if name.ends_with(".zst") {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    } else {
        text.as_bytes().to_vec()
    };
    std::fs::write(path, bytes).unwrap();
}

/// Writes shards with these numbers of lines; the lines of all shards are numbered from 0.
/// Compression formats alternate. A blank line follows every third line.
fn write_shards(folder: &Path, sizes: &[usize]) -> Vec<PathBuf> {
    let mut next = 0;
    let mut paths = Vec::new();
    for (shard, &size) in sizes.iter().enumerate() {
        let end = |number: usize| if number.is_multiple_of(3) { "\r\n \n" } else { "\n" };
        let text: String = (next..next + size).map(|k| format!("[{k}]{}", end(k))).collect();
        next += size;
        let path = folder.join(format!("{shard:03}.{}", EXTENSIONS[shard % 3]));
        write_compressed(&path, &text);
        paths.push(path);
    }
    paths
}

type NumberSource = ShardedJsonl<[u64; 1]>;

fn source(paths: &[PathBuf], config: &ShuffleConfig) -> NumberSource {
    NumberSource::new(Shards::open(paths).unwrap(), config.clone()).unwrap()
}

fn start_epoch(source: &mut impl ExampleSource, epoch: u64) {
    source.start_epoch(epoch, rng_for(5, "order", epoch)).unwrap();
}

fn read_remaining(source: &mut NumberSource) -> Vec<u64> {
    std::iter::from_fn(|| source.next_example().unwrap()).map(|[number]| number).collect()
}

fn read_epoch(source: &mut NumberSource, epoch: u64) -> Vec<u64> {
    start_epoch(source, epoch);
    read_remaining(source)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, ..ProptestConfig::with_cases(testkit::case_count(24))
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
        let paths = write_shards(folder.path(), &sizes);
        let config = ShuffleConfig { lines, bytes, open_shards };
        let mut first = source(&paths, &config);
        prop_assert_eq!(first.example_count(), Some(total as u64));
        start_epoch(&mut first, 2);
        let (mut numbers, mut positions) = (Vec::new(), vec![first.position()]);
        while let Some([number]) = first.next_example().unwrap() {
            numbers.push(number);
            positions.push(first.position());
        }
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        prop_assert_eq!(sorted, (0..total as u64).collect::<Vec<_>>());
        // A second source resumes at each position of the first source. Positions are converted to
        // JSON and back, as in checkpoints.
        let mut resumed = source(&paths, &config);
        for (index, position) in positions.into_iter().enumerate() {
            let json = serde_json::to_string(&position).unwrap();
            start_epoch(&mut resumed, 2);
            resumed.seek(serde_json::from_str(&json).unwrap()).unwrap();
            prop_assert_eq!(resumed.position(), position);
            prop_assert_eq!(read_remaining(&mut resumed), &numbers[index..], "position {}", index);
        }
    }
}

#[test]
fn the_order_depends_on_the_epoch_and_the_block_size() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write_shards(folder.path(), &[40, 40, 40]);
    let config = ShuffleConfig { lines: 30, ..ShuffleConfig::default() };
    let mut numbers = source(&paths, &config);
    let (first_epoch, second_epoch) = (read_epoch(&mut numbers, 0), read_epoch(&mut numbers, 1));
    assert_ne!(first_epoch, second_epoch);
    assert_eq!(read_epoch(&mut numbers, 0), first_epoch);
    assert_ne!(
        read_epoch(&mut source(&paths, &ShuffleConfig { lines: 31, ..config.clone() }), 0),
        first_epoch
    );
    // Few lines are followed by the next line of their file, and the first block has lines of all
    // open shards.
    let successors = first_epoch.windows(2).filter(|pair| pair[0] + 1 == pair[1]).count();
    assert!(successors < 12, "{successors} of 119 in the order of the files");
    for shard in 0..3 {
        let n_lines = first_epoch[..30].iter().filter(|number| *number / 40 == shard).count();
        assert_eq!(n_lines, 10);
    }
    // With blocks of one line, the lines of each shard stay in order.
    let unshuffled = read_epoch(&mut source(&paths, &ShuffleConfig { lines: 1, ..config }), 0);
    assert!((0..3).all(|shard| unshuffled.iter().filter(|k| *k / 40 == shard).is_sorted()));
}

#[test]
fn compression_and_location_of_shards_do_not_change_examples() {
    let text: String = (0..50).map(|k| format!("[{k}]\n")).collect();
    let mut results = Vec::new();
    for extension in EXTENSIONS {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("numbers.{extension}"));
        write_compressed(&path, &text);
        let mut numbers = source(&[path], &ShuffleConfig { lines: 20, ..Default::default() });
        let mut fingerprint = Fingerprint::new();
        numbers.fingerprint(&mut fingerprint);
        results.push((read_epoch(&mut numbers, 0), fingerprint.finish().unwrap()));
    }
    assert!(results[0] == results[1] && results[1] == results[2]);
}

#[test]
fn every_position_of_endless_epochs_can_be_restored() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write_shards(folder.path(), &[5, 7, 4]);
    let config = ShuffleConfig { lines: 3, ..ShuffleConfig::default() };
    let endless = || Endless::new(source(&paths, &config));
    let mut uninterrupted = endless();
    start_epoch(&mut uninterrupted, 0);
    assert_eq!(uninterrupted.example_count(), Some(16));
    let mut examples = Vec::new();
    let mut positions = Vec::new();
    for _ in 0..40 {
        positions.push(serde_json::to_string(&uninterrupted.position()).unwrap());
        examples.push(uninterrupted.next_example().unwrap().unwrap());
    }
    for epoch in examples.chunks_exact(16) {
        let mut numbers: Vec<u64> = epoch.iter().map(|[number]| *number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..16).collect::<Vec<_>>());
    }
    assert_ne!(examples[..16], examples[16..32], "the epochs have different orders");
    for (index, position) in positions.iter().enumerate() {
        let mut resumed = endless();
        start_epoch(&mut resumed, 0);
        resumed.seek(serde_json::from_str(position).unwrap()).unwrap();
        let remaining: Vec<_> =
            (index..40).map(|_| resumed.next_example().unwrap().unwrap()).collect();
        assert_eq!(remaining, examples[index..]);
    }
}

fn open_error(paths: &[PathBuf]) -> String {
    Shards::open(paths).unwrap_err().to_string()
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    assert!(open_error(&[]).starts_with("shards = none: must be one file or more"));
    assert!(open_error(&[path_of("none.jsonl")]).contains("none.jsonl: No such file"));
    assert!(
        open_error(&[folder.path().into()]).contains("the folder has no shards (*.jsonl or *.txt")
    );
    std::fs::write(path_of("blank.jsonl"), "\n \n").unwrap();
    assert!(open_error(&[folder.path().into()]).ends_with("blank.jsonl: the shard has no lines"));
    // Truncated and damaged compressed files are rejected.
    let text: String = (0..2000).map(|k| format!("[{}]\n", k * k)).collect();
    for name in ["part.jsonl.gz", "part.jsonl.zst"] {
        write_compressed(&path_of(name), &text);
        let bytes = std::fs::read(path_of(name)).unwrap();
        std::fs::write(path_of(name), &bytes[..bytes.len() / 2]).unwrap();
        let error = open_error(&[path_of(name)]);
        assert!(error.contains(name) && error.contains("truncated"), "{error}");
        let mut damaged = bytes.clone();
        let offset = bytes.len() / 4;
        damaged[offset..offset + 40].fill(0xa5);
        std::fs::write(path_of(name), damaged).unwrap();
        let error = open_error(&[path_of(name)]);
        assert!(error.contains(name) && error.contains("after line"), "{error}");
    }
}

#[test]
fn unreadable_entries_with_a_shard_name_are_errors() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    std::fs::write(path_of("a.jsonl"), "[1]\n").unwrap();
    let not_utf8 = folder.path().join(OsStr::from_bytes(b"\xff.txt"));
    type Case<'a> = (&'a Path, &'a str, &'a dyn Fn(&Path));
    let cases: [Case<'_>; 4] = [
        (&path_of("z.txt"), "No such file", &|path| symlink("/nowhere", path).unwrap()),
        (&path_of("z.jsonl.gz"), "symbolic links", &|path| symlink(path, path).unwrap()),
        (&path_of("z.parquet"), "not a file; its name", &|path| std::fs::create_dir(path).unwrap()),
        (&not_utf8, "not UTF-8; rename it", &|path| std::fs::write(path, "[2]\n").unwrap()),
    ];
    for (path, message, create) in cases {
        create(path);
        let error = open_error(&[folder.path().into()]);
        assert!(error.starts_with(&format!("{}: ", path.display())), "{error}");
        assert!(error.contains(message), "{error}");
        let remove = if path.is_dir() { std::fs::remove_dir } else { std::fs::remove_file };
        remove(path).unwrap();
    }
    // Hidden files and entries without a shard's name are ignored.
    symlink("/nowhere", path_of(".z.txt")).unwrap();
    std::fs::create_dir(path_of("notes")).unwrap();
    assert_eq!(Shards::open([folder.path()]).unwrap().files().len(), 1);
}

#[test]
fn a_duplicate_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    std::fs::create_dir(path_of("t")).unwrap();
    std::fs::write(path_of("t/a.jsonl"), "[1]\n").unwrap();
    for paths in
        [[path_of("t/a.jsonl"), path_of("t/a.jsonl")], [path_of("t"), path_of("t/../t/a.jsonl")]]
    {
        let error = open_error(&paths);
        assert!(error.ends_with("a.jsonl: listed twice among the shards; list it once"), "{error}");
    }
    // Storage systems that deduplicate files create links with different names to one file.
    std::os::unix::fs::symlink("a.jsonl", path_of("t/b.jsonl")).unwrap();
    assert_eq!(Shards::open([path_of("t")]).unwrap().line_count(), 2);
}

#[test]
fn byte_order_marks_and_a_missing_last_line_end_do_not_change_examples() {
    for extension in EXTENSIONS {
        for text in ["\u{feff}[0]\n[1]\n", "[0]\n[1]"] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(format!("marked.{extension}"));
            write_compressed(&path, text);
            let mut numbers = source(&[path], &ShuffleConfig::default());
            let mut examples = read_epoch(&mut numbers, 0);
            examples.sort_unstable();
            assert_eq!(examples, [0, 1], "{extension}, {text:?}");
        }
    }
}

#[test]
fn errors_in_lines_name_file_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, "[1]\n\n[\"x\"]\n").unwrap();
    let mut numbers = source(std::slice::from_ref(&path), &ShuffleConfig::default());
    start_epoch(&mut numbers, 0);
    let error = loop {
        match numbers.next_example() {
            Ok(example) => assert!(example.is_some()),
            Err(error) => break error.to_string(),
        }
    };
    let expected = "rows.jsonl: line 3, column 4: invalid type: string \"x\", expected u64";
    assert!(error.ends_with(expected), "{error}");
    let visit = |line: shards::ShardLine<'_>| line.parse::<[u64; 1]>().map(|_| ());
    let error = Shards::open_with([&path], visit).unwrap_err().to_string();
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn changed_contents_are_an_error_but_a_changed_modification_time_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let paths = write_shards(folder.path(), &[4]);
    let mut numbers = source(&paths, &ShuffleConfig::default());
    let original_order = read_epoch(&mut numbers, 0);
    let text = std::fs::read(&paths[0]).unwrap();
    let file = std::fs::File::options().append(true).open(&paths[0]).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(read_epoch(&mut numbers, 0), original_order);
    std::fs::write(&paths[0], String::from_utf8(text).unwrap().replace("[1]", "[9]")).unwrap();
    start_epoch(&mut numbers, 1);
    let error = numbers.next_example().unwrap_err().to_string();
    assert!(error.contains("000.jsonl: the file changed"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn json_is_recognised_in_files_whose_names_are_not_utf_8() {
    use std::os::unix::ffi::OsStrExt;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"train-\xff.jsonl.gz"));
    let line = |path| shards::ShardLine { path, number: 1, text: b"{}" };
    assert!(line(path).is_json());
    assert!(!line(Path::new("train.txt.gz")).is_json());
}
