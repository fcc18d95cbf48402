//! Translations from a file.
use std::path::{Path, PathBuf};

use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use crate::lines::{TranslationTable, add_translation, parse};
use crate::{Error, Translations, Translator};

/// How to handle a text that is missing in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingText {
    /// Returns an error that contains the text.
    #[default]
    Error,
    /// Returns no translation for the text.
    Skip,
}

/// A translator that reads translations from a JSONL file, with one `{"from": "en", "to": "de",
/// "source": "…", "target": "…"}` per line.
///
/// Texts are looked up unchanged, including markers. The cache of [`Cached`](crate::Cached) has
/// this format.
#[derive(Debug)]
pub struct FileTranslator {
    path: PathBuf,
    table: TranslationTable,
    missing: MissingText,
}

impl FileTranslator {
    /// Reads the whole file, plain or gzip-compressed. Blank lines are skipped; a blank translation
    /// of a non-blank text counts as missing.
    ///
    /// # Errors
    /// [`Error::File`]; [`Error::Line`] for the first line that is not a translation, or whose
    /// translation differs from an earlier translation of the same text.
    pub fn read(path: impl AsRef<Path>, missing: MissingText) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = atomic_file::read(path)?;
        let mut table = TranslationTable::new();
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            if !line.trim_ascii().is_empty() {
                add_translation(&mut table, parse(line, path, index + 1)?, path, index + 1)?;
            }
        }
        Ok(Self { path: path.to_owned(), table, missing })
    }
}

impl Translator for FileTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let look_up = |&text: &&str| match self.table.get(&(from, to, text.to_owned())) {
            Some(translation) => Ok(Some(translation.clone())),
            None if self.missing == MissingText::Skip => Ok(None),
            None => Err(Error::Untranslated {
                path: self.path.clone(),
                from,
                to,
                text: text.chars().take(80).collect(),
            }),
        };
        texts.iter().map(look_up).collect()
    }
}
