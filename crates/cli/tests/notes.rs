//! Tests of notes about truncated files. This is a separate test program, because the process has
//! one logger.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::fs;
use std::process::Command;

use atomic_file::Lines;
use tempfile::tempdir;

/// The variable that makes this test program read the files that it contains and print notes.
const FILES: &str = "TEST_FILES";

#[derive(clap::Parser)]
struct Args {}

/// Reads the files in [`FILES`] and prints the notes on standard error.
fn print_notes_of(files: &str) {
    let no_arguments: [std::ffi::OsString; 1] = ["test".into()];
    let command = <Args as clap::CommandFactory>::command();
    cli::parse_command(command, no_arguments).unwrap();
    log::warn!("of another library");
    for path in files.split(',') {
        let mut lines = Lines::open(path).unwrap().note_missing_newline();
        while lines.advance().unwrap() {}
    }
    cli::print_notes();
    // Each note is printed once.
    cli::print_notes();
}

#[test]
fn a_truncated_file_is_noted_once() {
    if let Ok(files) = std::env::var(FILES) {
        return print_notes_of(&files);
    }
    let folder = tempdir().unwrap();
    let path_of = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    fs::write(path_of("complete"), "a\nb\n").unwrap();
    fs::write(path_of("empty"), "").unwrap();
    fs::write(path_of("cut\u{1b}"), "a\nb").unwrap();
    let files = ["complete", "empty", "cut\u{1b}", "cut\u{1b}"].map(path_of).join(",");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "a_truncated_file_is_noted_once", "--nocapture"]).env(FILES, files);
    let stderr = String::from_utf8(command.output().unwrap().stderr).unwrap();
    let notes: Vec<&str> = stderr.lines().collect();
    let [note] = &notes[..] else { unreachable!("{stderr}") };
    let end = "cut\\u{1b}: the last line has no line end; it may be truncated";
    assert!(note.starts_with("note: /") && note.ends_with(end), "{note}");
}
