//! MLQA's languages and the order of languages in tables.
use std::cmp::Ordering;
use std::fmt;

use language::Language;
use serde::Serialize;

/// The seven languages of MLQA (Lewis et al. 2020), in the order of the paper's tables.
pub const MLQA_LANGUAGES: [Language; 7] = [
    Language::EN,
    Language::ES,
    Language::DE,
    Language::AR,
    Language::HI,
    Language::VI,
    Language::ZH,
];

/// A language with the order for tables: [`MLQA_LANGUAGES`] first, then all other languages by
/// code.
///
/// ```
/// use mlqa_eval::{Language, TableLanguage};
///
/// let mut languages = ["zh", "bg", "en", "ar"].map(|code| code.parse::<Language>().unwrap());
/// languages.sort_by_key(|&language| TableLanguage(language));
/// assert_eq!(languages.map(|language| language.to_string()), ["en", "ar", "zh", "bg"]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct TableLanguage(pub Language);

impl TableLanguage {
    /// Returns the sort key: the language's index in [`MLQA_LANGUAGES`], and the language. For
    /// languages that are not in the list, the index is the length of the list.
    fn rank(self) -> (usize, Language) {
        let index = MLQA_LANGUAGES.iter().position(|&language| language == self.0);
        (index.unwrap_or(MLQA_LANGUAGES.len()), self.0)
    }
}

impl Ord for TableLanguage {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank().cmp(&other.rank())
    }
}

impl PartialOrd for TableLanguage {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Language> for TableLanguage {
    fn from(language: Language) -> Self {
        Self(language)
    }
}

impl fmt::Display for TableLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
