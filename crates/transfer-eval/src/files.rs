//! Reading of lines, with errors that name file and line, and atomic writing of files.
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads a UTF-8 text file and removes its byte order mark. A gzip file, detected by its first
/// bytes, is decompressed.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = atomic_file::read(path)?;
    let read_error = atomic_file::Error::new(path, "read");
    atomic_file::check_text_start(&bytes).map_err(read_error)?;
    String::from_utf8(bytes).map_err(|error| {
        let valid_len = error.utf8_error().valid_up_to();
        let valid_prefix = &error.as_bytes()[..valid_len];
        let line = 1 + valid_prefix.iter().filter(|&&byte| byte == b'\n').count();
        Error::line(path, line, "not UTF-8; convert the file first")
    })
}

/// Reads a file as [`read_text`] does. If the last line has no line break, the file may be
/// truncated, so a note is recorded. JSON files need no such note, because truncated JSON is a
/// parse error.
pub(crate) fn read_text_with_note(path: &Path) -> Result<String> {
    let text = read_text(path)?;
    atomic_file::note_missing_newline(path, text.as_bytes());
    Ok(text)
}

/// Iterates over lines, without their line breaks (`\n` or `\r\n`), and their numbers, which start
/// at 1.
pub(crate) fn numbered_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.split('\n')
        .enumerate()
        .map(|(index, line)| (index + 1, line.strip_suffix('\r').unwrap_or(line)))
}

/// Parses a file with one JSON object per line. Returns each object with its line number; blank
/// lines are skipped.
pub(crate) fn json_lines<T: DeserializeOwned>(
    path: &Path,
    expected: &str,
) -> Result<Vec<(usize, T)>> {
    numbered_lines(&read_text(path)?)
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(number, line)| Ok((number, parse_line(line, path, number, expected)?)))
        .collect()
}

/// Parses one line as JSON; `expected` completes "expected …" in the error.
pub(crate) fn parse_line<T: DeserializeOwned>(
    line: &str,
    path: &Path,
    number: usize,
    expected: &str,
) -> Result<T> {
    serde_json::from_str(line).map_err(|error| {
        let reason = atomic_file::json::reason(&error);
        Error::line(path, number, format!("{reason}; expected {expected}"))
    })
}

/// Writes a file atomically; missing folders are created.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    atomic_file::create_folder_of(path)?;
    Ok(atomic_file::write(path, bytes)?)
}

/// Writes one JSON object per line, atomically.
pub(crate) fn write_json_lines<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        text += &atomic_file::json::to_string(path, row)?;
        text.push('\n');
    }
    write_atomic(path, text.as_bytes())
}
