//! Text files are read in one way.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::tempdir;
use whole_file::{Lines, read, read_to_string, take_notes};

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(text).unwrap();
    packer.finish().unwrap()
}

fn lines(path: &Path) -> Vec<(u64, String)> {
    let mut lines = Lines::open(path).unwrap().noting_cuts();
    let mut all = Vec::new();
    while lines.advance().unwrap() {
        all.push((lines.number(), String::from_utf8(lines.bytes().to_vec()).unwrap()));
    }
    all
}

#[test]
fn mark_and_compression_are_taken_off_whatever_the_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text.txt");
    let text = "eins\nzwei\n".as_bytes();
    let marked = [b"\xef\xbb\xbf", text].concat();
    for bytes in [text.to_vec(), marked.clone(), gzip(text), gzip(&marked)] {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), text);
        assert_eq!(lines(&path), [(1, "eins".to_owned()), (2, "zwei".to_owned())]);
    }
    // Two members, as concatenated files have.
    fs::write(&path, [gzip(b"eins\n"), gzip(b"zwei\n")].concat()).unwrap();
    assert_eq!(read(&path).unwrap(), text);
    for short in ["", "a", "\u{feff}", "\u{1f}"] {
        fs::write(&path, short).unwrap();
        assert_eq!(read_to_string(&path).unwrap(), short.trim_start_matches('\u{feff}'));
    }
    fs::write(&path, "\r\n\na\r\nb\rc\r\n").unwrap();
    let expected = [(1, ""), (2, ""), (3, "a"), (4, "b\rc")];
    assert_eq!(lines(&path), expected.map(|(number, line)| (number, line.to_owned())));
}

#[test]
fn what_is_cut_is_told() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("cut");
    let packed = gzip("a line\n".repeat(1000).as_bytes());
    fs::write(&path, &packed[..packed.len() - 9]).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("gzip"), "{error}");
    fs::write(&path, b"a\nb\xff\n").unwrap();
    let error = read_to_string(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("line 2"), "{error}");

    let ended = folder.path().join("ended");
    fs::write(&ended, "a\nb\n").unwrap();
    fs::write(&path, "a\nb").unwrap();
    for path in [&ended, &path, &path] {
        assert_eq!(lines(path).len(), 2);
    }
    let notes = take_notes();
    let [note] = &notes[..] else { unreachable!("{notes:?}") };
    assert!(note.contains("cut: the last line"), "{note}");
    assert!(take_notes().is_empty());
}
