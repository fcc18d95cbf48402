//! Translations as JSONL, the format of user files and of the cache.
use std::collections::HashMap;
use std::path::Path;

use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use crate::Error;

/// A line of a file of translations.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    pub from: Language,
    pub to: Language,
    pub source: String,
    pub target: String,
    /// [`Translator::identity`](crate::Translator::identity) of the translator, in a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
}

/// Translations by source language, target language and source text.
pub(crate) type TranslationTable = HashMap<(Language, Language, String), String>;

/// Parses one line.
pub(crate) fn parse(bytes: &[u8], path: &Path, line: usize) -> Result<Line, Error> {
    serde_json::from_slice(bytes).map_err(|error| {
        let got = atomic_file::json::reason(&error);
        Error::Line { path: path.to_owned(), line, got }
    })
}

/// Returns whether the translation of a non-blank text is blank.
pub(crate) fn is_blank_translation(source: &str, target: &str) -> bool {
    target.trim().is_empty() && !source.trim().is_empty()
}

/// Adds a translation unless it is blank. Returns an error if the translation differs from an
/// earlier translation of the same text.
pub(crate) fn add_translation(
    table: &mut TranslationTable,
    line: Line,
    path: &Path,
    number: usize,
) -> Result<(), Error> {
    if is_blank_translation(&line.source, &line.target) {
        return Ok(());
    }
    let key = (line.from, line.to, line.source);
    match table.get(&key) {
        Some(previous) if *previous != line.target => Err(Error::Line {
            path: path.to_owned(),
            line: number,
            got: format!("a second translation, {:?} after {previous:?}; keep one", line.target),
        }),
        Some(_) => Ok(()),
        None => {
            table.insert(key, line.target);
            Ok(())
        }
    }
}
