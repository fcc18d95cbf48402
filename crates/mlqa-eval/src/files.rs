//! Reading text and JSON with errors that name the place; writing without half-written files.
use std::io::Write;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::EvalError;

pub(crate) fn read_text(path: &Path) -> Result<String, EvalError> {
    std::fs::read_to_string(path)
        .map_err(|source| EvalError::Read { path: path.to_path_buf(), source })
}

/// Reads JSON; `expected` completes the sentence "expected …" of the error.
pub(crate) fn read_json<T: DeserializeOwned>(
    path: &Path,
    expected: &'static str,
) -> Result<T, EvalError> {
    parse_json(&read_text(path)?, path, expected)
}

pub(crate) fn parse_json<T: DeserializeOwned>(
    text: &str,
    path: &Path,
    expected: &'static str,
) -> Result<T, EvalError> {
    serde_json::from_str(text).map_err(|error| {
        let full = error.to_string();
        let place = format!(" at line {} column {}", error.line(), error.column());
        EvalError::Json {
            path: path.to_path_buf(),
            line: error.line(),
            column: error.column(),
            message: full.strip_suffix(&place).unwrap_or(&full).to_owned(),
            expected,
        }
    })
}

/// Writes through a temporary file in the same folder, which is flushed, synced and renamed.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<(), EvalError> {
    let failed = |source| EvalError::Write { path: path.to_path_buf(), source };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    let mut file = tempfile::Builder::new()
        .prefix(".mlqa-eval-")
        .suffix(".tmp")
        .tempfile_in(folder)
        .map_err(failed)?;
    file.write_all(bytes).map_err(failed)?;
    file.flush().map_err(failed)?;
    // Temporary files are private; the finished file has the mode a plain write would give.
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(path).map_or(0o644, |old| old.permissions().mode());
        file.as_file().set_permissions(PermissionsExt::from_mode(mode)).map_err(failed)?;
    }
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    Ok(())
}
