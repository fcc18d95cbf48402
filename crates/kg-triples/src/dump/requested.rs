//! The requested languages and tables of an extract.
use std::collections::BTreeMap;

use super::table::DumpTable;
use crate::Language;

/// Ids of sites that end in `wiki` but are not Wikipedias, without this suffix.
const NON_WIKIPEDIAS: [&str; 14] = [
    "commons",
    "foundation",
    "incubator",
    "mediawiki",
    "meta",
    "nostalgia",
    "outreach",
    "sources",
    "species",
    "strategy",
    "test",
    "wikidata",
    "wikifunctions",
    "wikimania",
];

/// The requested languages and tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Requested {
    /// Each requested language with its fallback languages for labels and descriptions, in order of
    /// preference. Codes are case-insensitive.
    pub(super) languages: Vec<(Language, Vec<Language>)>,
    /// The tables to write, sorted, without duplicates.
    pub(super) tables: Vec<DumpTable>,
}

/// The texts of an entity in the requested languages.
pub(super) struct ChosenTexts {
    /// Sorted by language.
    pub(super) texts: Vec<(Language, String)>,
    /// Number of texts that are in a fallback language.
    pub(super) fallback_count: u64,
}

/// Whether `code` is the code of `language`, ignoring case.
fn has_code(language: &Language, code: &str) -> bool {
    language.as_str().eq_ignore_ascii_case(code)
}

impl Requested {
    /// Whether a table is written.
    pub(super) fn has_table(&self, table: DumpTable) -> bool {
        self.tables.contains(&table)
    }

    /// The requested tables except redirects, in the order of [`DumpTable::ALL`].
    pub(super) fn entity_tables(&self) -> impl Iterator<Item = DumpTable> + '_ {
        self.tables.iter().copied().filter(|table| *table != DumpTable::Redirects)
    }

    /// Whether `code` is the code of a requested language or of a fallback language.
    pub(super) fn needs_language(&self, code: &str) -> bool {
        self.languages.iter().any(|(language, fallbacks)| {
            has_code(language, code) || fallbacks.iter().any(|fallback| has_code(fallback, code))
        })
    }

    /// The requested language with this code.
    pub(super) fn language(&self, code: &str) -> Option<Language> {
        self.languages
            .iter()
            .map(|(language, _)| *language)
            .find(|language| has_code(language, code))
    }

    /// The language of a site such as `dewiki` or `zh_yuewiki`, if it is a Wikipedia in a requested
    /// language.
    pub(super) fn wikipedia_language(&self, site: &str) -> Option<Language> {
        let code = site.strip_suffix("wiki").filter(|code| !NON_WIKIPEDIAS.contains(code))?;
        match code.contains('_') {
            true => self.language(&code.replace('_', "-")),
            false => self.language(code),
        }
    }

    /// Returns a text for each requested language: the text in this language, or in its first
    /// fallback language that has a text. Languages without a text are skipped.
    pub(super) fn choose_texts(&self, texts: &BTreeMap<&str, String>) -> ChosenTexts {
        let mut chosen = ChosenTexts { texts: Vec::new(), fallback_count: 0 };
        for (language, fallbacks) in &self.languages {
            let find_text = |language: &Language| {
                texts.iter().find(|(code, _)| has_code(language, code)).map(|(_, text)| text)
            };
            let exact_text = find_text(language);
            let fallback = || fallbacks.iter().find_map(find_text);
            let Some(text) = exact_text.or_else(fallback) else { continue };
            chosen.fallback_count += u64::from(exact_text.is_none());
            chosen.texts.push((*language, text.clone()));
        }
        chosen.texts.sort_unstable();
        chosen
    }
}
