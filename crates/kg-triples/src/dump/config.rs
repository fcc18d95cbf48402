//! Options and report of an extract.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counts::EntityCounts;
use super::source::Compression;
use super::table::DumpTable;
use crate::wikidata::{Scripts, mul};
use crate::{Error, LabelSourceCounts, Language, check_unique_languages};

/// The codes in which a text is looked up for a requested language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TermLookup {
    /// As Wikidata does: the language, its variants, its explicit fallback languages, then `mul`
    /// (see [`MulRule`]). English is not the last resort, because it would give a language a name
    /// that is not used in it.
    #[default]
    Wikidata,
    /// Only the language, and the languages of [`ExtractConfig::fallback`].
    Exact,
}

/// The labels and aliases of `mul` that are used with [`TermLookup::Wikidata`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MulRule {
    /// Texts in a script of the language, according to CLDR: more than half of the letters are in
    /// it, or there are no letters.
    #[default]
    SameScript,
    /// All texts.
    AnyScript,
}

/// Options of [`extract`](super::extract()).
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractConfig {
    /// Languages of texts: one or more, without duplicates. Codes are case-insensitive; `zh` and
    /// `zh-hans` are different languages.
    pub languages: Vec<Language>,
    /// Pairs of a language and its fallback languages, in order of preference. A fallback language
    /// is used if a text in the language is missing. With [`TermLookup::Wikidata`], the list
    /// replaces the variants and fallback languages of the language; `mul` follows it, or has the
    /// position at which it is listed and is then used in any script.
    pub fallback: Vec<(Language, Vec<Language>)>,
    /// The codes in which texts are looked up.
    pub lookup: TermLookup,
    /// The labels and aliases of `mul` that are used.
    pub mul: MulRule,
    /// The tables to write, at least one.
    pub tables: Vec<DumpTable>,
    /// Maximum number of invalid lines; more invalid lines are an error.
    pub bad_lines: u64,
    /// Maximum line length in bytes. A longer line is invalid.
    pub max_line_bytes: usize,
    /// Memory for sorting, in bytes. Data that exceeds it is stored in files below the output
    /// folder.
    pub memory: usize,
    /// Whether to discard an unfinished extract and start again instead of resuming it.
    pub restart: bool,
}

impl Default for ExtractConfig {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            fallback: Vec::new(),
            lookup: TermLookup::default(),
            mul: MulRule::default(),
            tables: DumpTable::GRAPH.to_vec(),
            bad_lines: 1000,
            max_line_bytes: 256 << 20,
            memory: 512 << 20,
            restart: false,
        }
    }
}

impl ExtractConfig {
    /// Returns the first option of a finished extract, with its value, whose data these options would
    /// not write. Further languages and tables are no difference.
    pub fn difference(&self, finished: &ExtractReport) -> Option<String> {
        let new = self.report();
        let list =
            |codes: &[Language]| codes.iter().map(Language::as_str).collect::<Vec<_>>().join(",");
        if finished.languages.iter().any(|language| !new.languages.contains(language)) {
            return Some(format!("the languages {}", list(&finished.languages)));
        }
        if finished.tables.iter().any(|table| !new.tables.contains(table)) {
            let names: Vec<&str> = finished.tables.iter().map(|table| table.name()).collect();
            return Some(format!("the tables {}", names.join(",")));
        }
        // Reports of earlier versions do not have these options.
        let (Some(old), Some(new)) = (&finished.terms, &new.terms) else { return None };
        if old.lookup != new.lookup {
            let name = match old.lookup {
                TermLookup::Wikidata => "wikidata",
                TermLookup::Exact => "exact",
            };
            return Some(format!("the lookup {name}"));
        }
        if old.mul != new.mul {
            let name = match old.mul {
                MulRule::SameScript => "the same script only",
                MulRule::AnyScript => "any script",
            };
            return Some(format!("names of mul in {name}"));
        }
        let fallback =
            |(code, codes): (&Language, &Vec<Language>)| format!("{code}={}", list(codes));
        let differs = |code: &&Language| old.fallback.get(code) != new.fallback.get(code);
        finished.languages.iter().find(differs).map(|code| match old.fallback.get_key_value(code) {
            None => format!("no --fallback for {code}"),
            Some(list) => format!("the fallback languages {}", fallback(list)),
        })
    }

    /// Validates the options.
    ///
    /// # Errors
    /// [`Error::Config`] if `languages` or `tables` is empty, if a language is duplicated, if a
    /// language of `fallback` is not in `languages`, or if `mul` is set with
    /// [`TermLookup::Exact`].
    pub(super) fn check(&self) -> Result<(), Error> {
        check_unique_languages("languages", &self.languages)?;
        check_unique_languages("fallback", self.fallback.iter().map(|(code, _)| code))?;
        self.fallback
            .iter()
            .try_for_each(|(_, codes)| check_unique_languages("fallback", codes))?;
        let is_requested = |language: &Language| self.languages.contains(language);
        if let Some((code, _)) = self.fallback.iter().find(|(code, _)| !is_requested(code)) {
            let rule = "fallback languages of a requested language (add it to --languages)";
            return Err(Error::Config { key: "fallback", value: format!("{code}=…"), rule });
        }
        if self.lookup == TermLookup::Exact && self.mul != MulRule::default() {
            let (value, rule) = ("any_script".into(), "omitted with the lookup `exact`");
            return Err(Error::Config { key: "mul", value, rule });
        }
        for (key, empty, rule) in [
            ("languages", self.languages.is_empty(), "one language or more"),
            ("tables", self.tables.is_empty(), "one table or more"),
        ] {
            if empty {
                return Err(Error::Config { key, value: "[]".into(), rule });
            }
        }
        Ok(())
    }

    /// Returns the tables to write, without duplicates and in the order of [`DumpTable::ALL`].
    pub(super) fn tables(&self) -> Vec<DumpTable> {
        DumpTable::ALL.into_iter().filter(|table| self.tables.contains(table)).collect()
    }

    /// Creates a report with the languages and tables of this configuration, and counts of 0.
    pub(super) fn report(&self) -> ExtractReport {
        ExtractReport {
            languages: self.languages.clone(),
            tables: self.tables(),
            terms: Some(TermOptions {
                lookup: self.lookup,
                mul: self.mul,
                fallback: self.fallback.iter().cloned().collect(),
            }),
            label_sources: match self.tables.contains(&DumpTable::Labels) {
                true => self.languages.iter().map(|code| (*code, NameCounts::default())).collect(),
                false => BTreeMap::new(),
            },
            ..ExtractReport::default()
        }
    }

    /// Returns the requested languages for which texts of `mul` are not used, because their scripts
    /// are unknown.
    pub fn languages_without_scripts(&self) -> Vec<Language> {
        let uses_scripts = (self.lookup, self.mul) == (TermLookup::Wikidata, MulRule::SameScript);
        let languages = self.languages.iter().copied().filter(|_| uses_scripts);
        languages
            .filter(|language| *language != mul() && Scripts::of(*language).is_none())
            .collect()
    }
}

/// An invalid line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BadLine {
    /// Line, from 1.
    pub line: u64,
    /// Byte offset in the decompressed dump.
    pub offset: u64,
    /// The reason why the line is invalid.
    pub reason: String,
}

/// Number of items and properties by the source of their label in a language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct NameCounts {
    /// Labels written.
    #[serde(flatten)]
    pub sources: LabelSourceCounts,
    /// Items and properties without a label in the language, although they have one in `mul`. Its
    /// script is none of the language's, or the lookup is [`TermLookup::Exact`].
    pub unused_mul: u64,
}

/// The codes in which the texts of an extract were looked up, see [`ExtractConfig`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct TermOptions {
    /// [`ExtractConfig::lookup`].
    pub lookup: TermLookup,
    /// [`ExtractConfig::mul`].
    pub mul: MulRule,
    /// [`ExtractConfig::fallback`].
    pub fallback: BTreeMap<Language, Vec<Language>>,
}

/// Counts of an extract, stored as `extract.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExtractReport {
    /// Compression of the dump.
    pub compression: Compression,
    /// Compressed bytes.
    pub packed_bytes: u64,
    /// SHA-256 of the compressed bytes.
    pub sha256: String,
    /// Decompressed bytes.
    pub bytes: u64,
    /// Number of lines, including blank lines and lines that contain only a bracket.
    pub lines: u64,
    /// Requested languages of the texts.
    pub languages: Vec<Language>,
    /// The tables that were written.
    #[serde(default)]
    pub tables: Vec<DumpTable>,
    /// The codes in which texts were looked up; `None` in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<TermOptions>,
    /// Items.
    pub items: u64,
    /// Properties.
    pub properties: u64,
    /// Skipped entities of other types, such as lexemes, by type.
    pub others: BTreeMap<String, u64>,
    /// Number of labels by language and source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub label_sources: BTreeMap<Language, NameCounts>,
    /// Number of redirects.
    pub redirects: u64,
    /// Skipped entities whose id occurred before in the dump.
    pub repeated_entities: u64,
    /// Counts of labels and statements of items and properties.
    #[serde(flatten)]
    pub counts: EntityCounts,
    /// Number of invalid lines.
    pub bad_lines: u64,
    /// The first invalid lines.
    pub first_bad_lines: Vec<BadLine>,
}
