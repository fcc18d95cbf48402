//! Tests of reading text files.
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use atomic_file::{
    Lines, MAX_FILE_BYTES, read, read_limited, read_to_string, read_to_string_limited,
    read_to_string_with_bom,
};
use tempfile::tempdir;
use testkit::gzip;

fn read_lines(path: &Path) -> Vec<(u64, String)> {
    let mut lines = Lines::open(path).unwrap();
    let mut numbered_lines = Vec::new();
    while lines.advance().unwrap() {
        numbered_lines.push((lines.number(), String::from_utf8(lines.bytes().to_vec()).unwrap()));
    }
    numbered_lines
}

#[test]
fn byte_order_mark_and_compression_are_removed_regardless_of_the_name() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text.txt");
    let text = "eins\nzwei\n".as_bytes();
    let with_mark = [b"\xef\xbb\xbf", text].concat();
    for bytes in [text.to_vec(), with_mark.clone(), gzip(text), gzip(&with_mark)] {
        fs::write(&path, &bytes).unwrap();
        assert_eq!(read(&path).unwrap(), text);
        assert_eq!(read_lines(&path), [(1, "eins".to_owned()), (2, "zwei".to_owned())]);
    }
    // Two gzip members, as in concatenated files.
    fs::write(&path, [gzip(b"eins\n"), gzip(b"zwei\n")].concat()).unwrap();
    assert_eq!(read(&path).unwrap(), text);
    for text in ["", "a", "\u{feff}", "\u{1f}"] {
        fs::write(&path, text).unwrap();
        assert_eq!(read_to_string(&path).unwrap(), text.trim_start_matches('\u{feff}'));
        assert_eq!(read_to_string_with_bom(&path, 9).unwrap(), text);
    }
    fs::write(&path, "\r\n\na\r\nb\rc\r\n").unwrap();
    let expected = [(1, ""), (2, ""), (3, "a"), (4, "b\rc")];
    assert_eq!(read_lines(&path), expected.map(|(number, line)| (number, line.to_owned())));
}

/// Returns the error message for a file that is longer than `limit`.
#[track_caller]
fn too_large_message(path: &Path, limit: u64) -> String {
    let error = read_limited(path, limit).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge, "{error}");
    error.source.to_string()
}

#[test]
fn a_file_larger_than_the_limit_is_rejected() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("text");
    for bytes in [b"12345".to_vec(), b"\xef\xbb\xbf12345".to_vec(), gzip(b"12345")] {
        fs::write(&path, bytes).unwrap();
        assert_eq!(read_to_string_limited(&path, 5).unwrap(), "12345");
        assert!(too_large_message(&path, 4).starts_with("it contains more than 4 bytes"));
        assert!(too_large_message(&path, 0).starts_with("it contains more than 0 bytes"));
    }
    fs::write(&path, "").unwrap();
    assert_eq!(read_limited(&path, 0).unwrap(), b"");
    // A decompression bomb: 64 MiB in 64 KiB.
    fs::write(&path, gzip(vec![b' '; 64 << 20])).unwrap();
    assert!(too_large_message(&path, 1 << 20).starts_with("it contains more than 1 MiB"));
    assert_eq!(read(&path).unwrap().len(), 64 << 20);
    // An endless file.
    #[cfg(unix)]
    assert!(too_large_message(Path::new("/dev/zero"), 1 << 20).contains("more than 1 MiB"));
    // A sparse file: it uses no disk space, and no memory is allocated for it.
    fs::File::create(&path).unwrap().set_len(1 << 42).unwrap();
    assert!(too_large_message(&path, 16).contains("more than 16 bytes"));
    let error = read_to_string(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::FileTooLarge);
    assert!(error.to_string().contains("more than 4 GiB"), "{error}");
    assert_eq!(MAX_FILE_BYTES, 4 << 30);
}

#[test]
fn truncation_is_reported() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("cut");
    let compressed = gzip("a line\n".repeat(1000).as_bytes());
    fs::write(&path, &compressed[..compressed.len() - 9]).unwrap();
    let error = read(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert!(error.to_string().contains("gzip"), "{error}");
    fs::write(&path, b"a\nb\xff\n").unwrap();
    let error = read_to_string(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    assert!(error.to_string().contains("line 2"), "{error}");
}
