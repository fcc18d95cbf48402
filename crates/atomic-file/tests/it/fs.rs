//! Tests of files and folders whose errors have a path.
use std::fs::OpenOptions;
use std::io::{ErrorKind, SeekFrom};

use atomic_file::fs::{self, File};
use atomic_file::json;

#[test]
fn errors_of_an_open_file_have_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("digits");
    let mut file = File::create(&path).unwrap();
    file.write_all(b"0123456789").unwrap();
    let error = file.read_to_end().unwrap_err();
    assert_eq!((error.path.as_path(), error.action), (path.as_path(), "read"));

    let mut file = File::open(&path).unwrap();
    assert_eq!(file.read_up_to(4).unwrap(), b"0123");
    assert_eq!(file.seek(SeekFrom::Start(8)).unwrap(), 8);
    assert_eq!(file.read_to_end().unwrap(), b"89");
    let error = file.read_exact(&mut [0]).unwrap_err();
    assert_eq!((error.path.as_path(), error.kind()), (path.as_path(), ErrorKind::UnexpectedEof));
    let error = file.write_all(b"x").unwrap_err();
    assert_eq!((error.path.as_path(), error.action), (path.as_path(), "write"));

    let mut copy = Vec::new();
    assert_eq!(File::open(&path).unwrap().read_into(&mut copy).unwrap(), 10);
    assert_eq!(copy, b"0123456789");
    let error = File::open_with(&path, OpenOptions::new().write(true).create_new(true));
    assert!(
        error.unwrap_err().to_string().starts_with(&format!("cannot open {}: ", path.display()))
    );
}

#[test]
fn a_second_lock_of_a_file_is_an_error_with_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    let file = File::create(&path).unwrap();
    let lock = file.try_lock().unwrap();
    assert!(lock.is_some(), "the file system supports locks");
    let error = File::open(&path).unwrap().try_lock().unwrap_err();
    assert_eq!((error.path.as_path(), error.kind()), (path.as_path(), ErrorKind::WouldBlock));
    drop(lock);
    assert!(File::open(&path).unwrap().lock().unwrap().is_some());
}

#[test]
fn a_file_of_more_than_the_limit_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    std::fs::write(&path, "12345").unwrap();
    assert_eq!(fs::read_limited(&path, 5).unwrap(), b"12345");
    let error = fs::read_limited(&path, 4).unwrap_err();
    assert_eq!((error.path.as_path(), error.kind()), (path.as_path(), ErrorKind::FileTooLarge));
    assert!(error.to_string().ends_with("has more than 4 bytes"), "{error}");
}

#[test]
fn folders_are_listed_and_renamed_with_errors_that_have_a_path() {
    let folder = tempfile::tempdir().unwrap();
    let temporary = fs::temporary_dir(folder.path(), ".test-").unwrap();
    let entries = fs::read_dir(folder.path()).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].path(), temporary.path());
    assert!(entries[0].file_name().to_string_lossy().starts_with(".test-"));
    assert!(entries[0].file_type().unwrap().is_dir());
    drop(temporary);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);

    let absent = folder.path().join("absent");
    let text = |error: atomic_file::Error| error.to_string();
    let message = |action: &str| format!("cannot {action} {}: ", absent.display());
    assert!(text(fs::read_dir(&absent).unwrap_err()).starts_with(&message("read the folder")));
    let error = fs::temporary_dir(&absent, ".test-").unwrap_err();
    assert!(text(error).starts_with(&message("create a folder in")));
    let target = absent.join("target");
    assert_eq!(fs::rename(folder.path(), &target).unwrap_err().path, target);
    assert!(!fs::exists(&absent).unwrap());
}

#[test]
fn values_without_a_json_form_are_errors_with_the_path() {
    let path = "table.json".as_ref();
    let table = std::collections::BTreeMap::from([([0, 1], "a")]);
    let error = json::to_string_pretty(path, &table).unwrap_err();
    assert_eq!(error.to_string(), "cannot write table.json: key must be a string");
    assert_eq!(json::to_string_pretty(path, &[1, 2]).unwrap(), "[\n  1,\n  2\n]");
    let error = json::from_slice::<u8>(path, b"\n300").unwrap_err();
    let reason = "invalid value: integer `300`, expected u8 at line 2 column 3";
    assert_eq!(error.to_string(), format!("cannot read table.json: {reason}"));
}
