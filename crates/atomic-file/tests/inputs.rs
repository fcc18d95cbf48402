//! An input that is protected is not written over; a test program of its own, since the protection
//! is the process's.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::fs;
use std::io::{ErrorKind, Write};

use atomic_file::{AtomicFile, check_output, protect_inputs, read, remember_input, write};
use tempfile::tempdir;

#[test]
fn an_input_is_not_written_over() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("input"), "precious").unwrap();
    read(at("input")).unwrap();
    write(at("input"), "precious").unwrap(); // a library alone may
    protect_inputs();
    write(at("other"), "x").unwrap();
    let started = AtomicFile::create(at("input")).unwrap();
    read(at("input")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("input", at("link")).unwrap();
        fs::hard_link(at("input"), at("same")).unwrap();
        assert!(check_output(&at("same")).is_err());
        assert!(write(at("link"), "lost").is_err());
    }
    let dotted = folder.path().join(".").join("input");
    for path in [at("input"), dotted] {
        let error = write(&path, "lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("one of the inputs"), "{error}");
    }
    // An output that was created before the input was read.
    let mut started = started;
    started.write_all(b"lost").unwrap();
    assert!(started.finish().is_err());
    assert_eq!(fs::read_to_string(at("input")).unwrap(), "precious");

    check_output(&at("other")).unwrap();
    remember_input(&at("other"));
    assert!(check_output(&at("other")).is_err());
    // Gone, and another file of that name may come.
    fs::remove_file(at("other")).unwrap();
    write(at("other"), "new").unwrap();
}
