//! Reads text and JSON, and writes files atomically. Errors of invalid JSON name the file, line and
//! column.
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use atomic_file::FileSet;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::ser::PrettyFormatter;

use crate::Error;

pub(crate) fn read_text(path: &Path) -> Result<String, Error> {
    Ok(atomic_file::read_to_string(path)?)
}

/// Reads JSON. `expected` completes "expected …" in the error.
///
/// # Errors
/// [`Error::File`]; [`Error::Json`] with line and column.
pub fn read_json<T: DeserializeOwned>(path: &Path, expected: &'static str) -> Result<T, Error> {
    parse_json(&read_text(path)?, path, expected)
}

pub(crate) fn parse_json<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    expected: &'static str,
) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|error| json_error(&error, text, path, expected))
}

/// Converts an error of `serde_json` about a text.
pub(crate) fn json_error(
    error: &serde_json::Error,
    text: &str,
    path: &Path,
    expected: &'static str,
) -> Error {
    let (line, column) = (error.line(), error.column());
    let message = match non_json_literal(text, line, column) {
        Some(literal) if error.is_syntax() => format!("{literal} is not JSON; write null"),
        _ => atomic_file::json::reason(error),
    };
    Error::Json { path: path.to_path_buf(), line, column, message, expected }
}

/// Returns the literal at a position if it is `NaN` or `Infinity`. Python's `json` writes these
/// literals, but they are not valid JSON.
fn non_json_literal(text: &str, line: usize, column: usize) -> Option<&'static str> {
    let line = text.as_bytes().split(|&byte| byte == b'\n').nth(line.checked_sub(1)?)?;
    let text_at_column = line.get(column.checked_sub(1)?..)?;
    ["NaN", "Infinity"].into_iter().find(|literal| text_at_column.starts_with(literal.as_bytes()))
}

/// Deserialises the entries of an object in file order.
pub(crate) fn read_entries<'de, V: Deserialize<'de>, D: Deserializer<'de>>(
    from: D,
) -> Result<Vec<(String, V)>, D::Error> {
    struct Entries<V>(PhantomData<V>);
    impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
        type Value = Vec<(String, V)>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            std::iter::from_fn(|| map.next_entry().transpose()).collect()
        }
    }
    from.deserialize_map(Entries(PhantomData))
}

/// Serialises a path; invalid UTF-8 becomes U+FFFD.
pub(crate) fn path_as_text<S: Serializer>(path: &Path, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(&path.display())
}

/// Writes several files. All files are written completely before the first one is renamed to its
/// final name. Missing folders are created.
///
/// # Errors
/// [`Error::File`].
pub fn write_files(files: &[(PathBuf, Vec<u8>)]) -> Result<(), Error> {
    let mut file_set = FileSet::default();
    for (path, bytes) in files {
        atomic_file::create_folder_of(path)?;
        file_set.add(path, bytes)?;
    }
    Ok(file_set.publish()?)
}

/// Writes a file atomically; missing folders are created.
pub(crate) fn write_atomic(path: &Path, bytes: Vec<u8>) -> Result<(), Error> {
    write_files(&[(path.to_path_buf(), bytes)])
}

/// Writes indented JSON with a final newline, atomically.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    write_atomic(path, to_json_bytes(path, value)?)
}

/// Serialises a value as indented JSON with a final newline, for the file `path`.
///
/// # Errors
/// [`Error::File`].
pub fn to_json_bytes(path: &Path, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let mut serializer =
        serde_json::Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b" "));
    value
        .serialize(&mut serializer)
        .map_err(|error| atomic_file::Error::new(path, "write")(error.into()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
