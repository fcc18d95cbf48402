//! Messages on standard error, and exit codes.
use std::error::Error;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use atomic_file::one_line;

use crate::notes::take_notes;

/// Prints the notes about files and, for an error, one `error:` line. Returns the exit code, 0 or
/// 2.
pub fn end<E: Display>(result: Result<(), E>) -> ExitCode {
    print_notes();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print_stderr(&format!("error: {error}"));
            ExitCode::from(2)
        }
    }
}

/// Returns an error and its causes as one text, without causes whose text the preceding message
/// already contains.
pub fn describe(error: &(dyn Error + 'static)) -> String {
    let mut previous = error.to_string();
    let mut text = previous.clone();
    let mut source = error.source();
    while let Some(cause) = source {
        let reason = cause.to_string();
        if !previous.contains(&reason) {
            text = format!("{text}: {reason}");
        }
        previous = reason;
        source = cause.source();
    }
    text
}

/// Prints the notes that were collected since the last call, for programs that do not end with
/// [`end`].
pub fn print_notes() {
    for note in take_notes() {
        print_stderr(&format!("note: {note}"));
    }
}

/// Prints one line on standard error, with control characters escaped.
pub fn print_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", one_line(line));
}
