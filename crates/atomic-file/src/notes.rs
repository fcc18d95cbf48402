//! Notes about input files, and escaping of text for a terminal.
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Removes and returns the recorded notes about input files: one for each possibly truncated file,
/// whose last line has no line end, and those of [`note`].
///
/// The readers of this crate record notes, and programs print the notes.
pub fn take_notes() -> Vec<String> {
    std::mem::take(&mut NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Records a note about a file, unless it was recorded before.
pub fn note(note: String) {
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    // This limits the memory use of long-running programs that never print notes.
    if notes.len() < 100 && !notes.contains(&note) {
        notes.push(note);
    }
}

/// Records a note about the file `path` if the last line of `bytes` has no line end.
pub fn note_missing_newline(path: &Path, bytes: &[u8]) {
    if bytes.last().is_none_or(|&last| last == b'\n') {
        return;
    }
    note(format!("{}: the last line has no line end; it may be truncated", path.display()));
}

/// Returns `text` as one line that is safe to print on a terminal.
///
/// Line ends, other control characters and bidirectional controls are escaped as in Rust.
///
/// ```
/// assert_eq!(atomic_file::one_line("id `a\nb\u{1b}[2J`"), r"id `a\nb\u{1b}[2J`");
/// assert_eq!(atomic_file::one_line("मानक हिन्दी"), "मानक हिन्दी");
/// ```
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape_controls(text, &[], |c| match c {
        '\n' | '\r' | '\t' => c.escape_default().collect(),
        _ => c.escape_unicode().collect(),
    })
}

/// Returns `text` in a form that is safe to print on a terminal. Line ends and tabs are unchanged.
///
/// Other control characters are escaped as in JSON, so that JSON stays valid.
///
/// ```
/// assert_eq!(atomic_file::printable_lines("| a |\n| \u{1b}[31m |\n"), "| a |\n| \\u001b[31m |\n");
/// ```
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escape_controls(text, &['\n', '\t'], |c| format!("\\u{:04x}", u32::from(c)))
}

/// Escapes control characters that are not in `allowed`.
fn escape_controls<'a>(
    text: &'a str,
    allowed: &[char],
    escape: impl Fn(char) -> String,
) -> Cow<'a, str> {
    let is_unsafe = |c: char| {
        !allowed.contains(&c) && c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut output = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match is_unsafe(c) {
            true => output.push_str(&escape(c)),
            false => output.push(c),
        }
    }
    Cow::Owned(output)
}
