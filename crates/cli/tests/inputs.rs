//! Tests that protected inputs are not overwritten. This is a separate test program, because the
//! protection applies to the whole process.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::fs;
use std::io::ErrorKind;

use atomic_file::{AtomicFile, check_output, read, report_opened, write};
use cli::{inputs, protect_inputs};
use tempfile::tempdir;

#[test]
fn a_protected_input_is_not_overwritten() {
    let folder = tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name);
    fs::write(path_of("input"), "precious").unwrap();
    read(path_of("input")).unwrap();
    // Before `protect_inputs` is called, inputs can be overwritten.
    write(path_of("input"), "precious").unwrap();
    assert!(inputs().is_empty());
    protect_inputs();
    protect_inputs();
    write(path_of("other"), "x").unwrap();
    let mut output = AtomicFile::create(path_of("input")).unwrap();
    read(path_of("input")).unwrap();
    assert_eq!(inputs(), [std::path::absolute(path_of("input")).unwrap()]);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("input", path_of("link")).unwrap();
        fs::hard_link(path_of("input"), path_of("same")).unwrap();
        assert!(check_output(&path_of("same")).is_err());
        assert!(write(path_of("link"), "lost").is_err());
    }
    let path_with_dot = folder.path().join(".").join("input");
    for path in [path_of("input"), path_with_dot] {
        let error = write(&path, "lost").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.to_string().contains("one of the inputs"), "{error}");
    }
    // This output was created before the input was read.
    output.write_all(b"lost").unwrap();
    assert!(output.finish().is_err());
    assert_eq!(fs::read_to_string(path_of("input")).unwrap(), "precious");

    check_output(&path_of("other")).unwrap();
    report_opened(&path_of("other"));
    assert!(check_output(&path_of("other")).is_err());
    // A removed input is no longer protected.
    fs::remove_file(path_of("other")).unwrap();
    write(path_of("other"), "new").unwrap();
}
