//! Notes about the files that a program read, and texts as harmless lines of a terminal.
use std::borrow::Cow;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Notes about files whose last line has no end, which may have been cut, each file once; taken
/// out. Readers of this crate leave them, programs print them.
pub fn take_notes() -> Vec<String> {
    std::mem::take(&mut NOTES.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Leaves a note about the lines of the file `path` where the last has no end.
pub fn note_missing_newline(path: &Path, bytes: &[u8]) {
    if bytes.last().is_none_or(|&last| last == b'\n') {
        return;
    }
    let note = format!(
        "{}: the last line has no line end; if the file was cut, that line is wrong",
        path.display()
    );
    let mut notes = NOTES.lock().unwrap_or_else(PoisonError::into_inner);
    // Long-lived programs may read without end and print nothing.
    if notes.len() < 100 && !notes.contains(&note) {
        notes.push(note);
    }
}

/// A text as one harmless line of a terminal: line ends, other control characters and those that
/// turn the direction of writing are escaped as Rust does.
///
/// ```
/// assert_eq!(whole_file::one_line("id `a\nb\u{1b}[2J`"), r"id `a\nb\u{1b}[2J`");
/// assert_eq!(whole_file::one_line("मानक हिन्दी"), "मानक हिन्दी");
/// ```
pub fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, &[], |c| match c {
        '\n' | '\r' | '\t' => c.escape_default().collect(),
        _ => c.escape_unicode().collect(),
    })
}

/// The same for text of several lines, whose line ends and tabs stay; the others are escaped as in
/// JSON, so that what is JSON stays it.
///
/// ```
/// assert_eq!(whole_file::lines("| a |\n| \u{1b}[31m |\n"), "| a |\n| \\u001b[31m |\n");
/// ```
pub fn lines(text: &str) -> Cow<'_, str> {
    escaped(text, &['\n', '\t'], |c| format!("\\u{:04x}", u32::from(c)))
}

/// The text with what a terminal obeys escaped, but for what is `kept`.
fn escaped<'a>(text: &'a str, kept: &[char], escape: impl Fn(char) -> String) -> Cow<'a, str> {
    let harmful = |c: char| {
        !kept.contains(&c) && c.is_control()
            || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(harmful) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match harmful(c) {
            true => shown.push_str(&escape(c)),
            false => shown.push(c),
        }
    }
    Cow::Owned(shown)
}
