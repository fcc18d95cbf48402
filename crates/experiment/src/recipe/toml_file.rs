//! Reading of TOML files, and their error messages.
use std::path::Path;

use crate::recipe::names::nearest;
use crate::{Error, Result};

/// Maximum size of a recipe in bytes.
const MAX_BYTES: u64 = 16 << 20;

/// Reads the text of a recipe.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    Ok(atomic_file::read_to_string_limited(path, MAX_BYTES)?)
}

/// Converts the error of parsing `text`, the contents of `path`, to an error with file, line and
/// column.
pub(crate) fn error_in_file(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let reason = add_nearest_name(error.message());
    let Some(text_before) = error.span().and_then(|span| text.get(..span.start)) else {
        return Error::content(path, reason);
    };
    let line = text_before.matches('\n').count() + 1;
    let line_start = text_before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = text_before[line_start..].chars().count() + 1;
    Error::content(format!("{}:{line}:{column}", path.display()), reason)
}

/// Adds the nearest name to serde's message about an unknown key or value.
pub(crate) fn add_nearest_name(message: &str) -> String {
    let message = message.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
    let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (kind, list_name) = if message.starts_with("unknown field `") {
        ("key", "keys here")
    } else if message.starts_with("unknown variant `") {
        ("value", "values")
    } else {
        return message.trim().to_owned();
    };
    let Some((unknown, known)) = names.split_first() else { return message };
    match nearest(unknown, known.iter().copied()) {
        Some(nearest_name) => format!(
            "unknown {kind} `{unknown}`: the nearest is `{nearest_name}` ({list_name}: {})",
            known.join(", ")
        ),
        None => format!("unknown {kind} `{unknown}`: none is allowed here"),
    }
}
