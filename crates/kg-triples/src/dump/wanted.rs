//! The parts of an entity that are read.
use std::collections::BTreeMap;

use super::table::DumpTable;
use crate::Language;

/// Wikis whose code ends like a Wikipedia's.
const OTHER_WIKIS: [&str; 14] = [
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

/// The parts of an entity that are read.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// The languages of texts, each with those whose labels and descriptions take the place of
    /// missing ones, best first. Case does not matter.
    pub(super) languages: Vec<(Language, Vec<Language>)>,
    /// The tables that are written, sorted, each once.
    pub(super) tables: Vec<DumpTable>,
}

/// The texts of an entity in the requested languages.
pub(super) struct Chosen {
    /// Sorted by language.
    pub(super) texts: Vec<(Language, String)>,
    /// How many are another language's.
    pub(super) fallbacks: u64,
}

/// Whether a code is that of a language.
fn is(language: &Language, code: &str) -> bool {
    language.as_str().eq_ignore_ascii_case(code)
}

impl Wanted {
    /// Whether a table is written.
    pub(super) fn has(&self, table: DumpTable) -> bool {
        self.tables.contains(&table)
    }

    /// The tables whose rows come from entities, in the order of [`DumpTable::ALL`].
    pub(super) fn of_entities(&self) -> impl Iterator<Item = DumpTable> + '_ {
        self.tables.iter().copied().filter(|table| *table != DumpTable::Redirects)
    }

    /// Whether labels in the language of this code are read.
    pub(super) fn reads(&self, code: &str) -> bool {
        self.languages.iter().any(|(language, others)| {
            is(language, code) || others.iter().any(|other| is(other, code))
        })
    }

    /// The language of this code, if it is requested.
    pub(super) fn language(&self, code: &str) -> Option<Language> {
        self.languages.iter().map(|(language, _)| *language).find(|language| is(language, code))
    }

    /// The language of a site such as `dewiki` or `zh_yuewiki`, if it is a Wikipedia in a language
    /// asked for.
    pub(super) fn wikipedia(&self, site: &str) -> Option<Language> {
        let code = site.strip_suffix("wiki").filter(|code| !OTHER_WIKIS.contains(code))?;
        match code.contains('_') {
            true => self.language(&code.replace('_', "-")),
            false => self.language(code),
        }
    }

    /// The text of each language, or of the first that takes its place.
    pub(super) fn choose(&self, usable: &BTreeMap<&str, String>) -> Chosen {
        let mut chosen = Chosen { texts: Vec::new(), fallbacks: 0 };
        for (language, others) in &self.languages {
            let text = |wanted: &Language| {
                usable.iter().find(|(code, _)| is(wanted, code)).map(|(_, text)| text)
            };
            let exact = text(language);
            let other = || others.iter().find_map(text);
            let Some(text) = exact.or_else(other) else { continue };
            chosen.fallbacks += u64::from(exact.is_none());
            chosen.texts.push((*language, text.clone()));
        }
        chosen.texts.sort_unstable();
        chosen
    }
}
