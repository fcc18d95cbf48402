//! Cleaning and selection of an entity's labels, descriptions, aliases and sitelinks.
use std::collections::{BTreeMap, BTreeSet};

use super::clean::{CleanText, clean};
use super::counts::EntityCounts;
use super::entity::Entity;
use super::record::NameTally;
use super::requested::{Choice, Requested, Term};
use super::table::DumpTable;
use crate::{LabelSource, Language};

/// The text and language code of a label, description or alias, before cleaning.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) language: Option<Vec<u8>>,
    /// The text in WTF-8.
    pub(super) value: Option<Vec<u8>>,
}

/// Result of cleaning the text of a language.
enum CleanResult {
    /// The value of `language` differs from the language key of the text.
    LanguageMismatch,
    Missing,
    Empty,
    Valid(String),
}

impl Text {
    fn cleaned(&self, language: &str, counts: &mut EntityCounts) -> Result<CleanResult, String> {
        let json_language = self.language.as_deref();
        if !json_language.is_some_and(|code| code.eq_ignore_ascii_case(language.as_bytes())) {
            return Ok(CleanResult::LanguageMismatch);
        }
        let Some(value) = &self.value else { return Ok(CleanResult::Missing) };
        let text = clean_value(value, counts)?;
        Ok(if text.is_empty() { CleanResult::Empty } else { CleanResult::Valid(text) })
    }
}

fn clean_value(value: &[u8], counts: &mut EntityCounts) -> Result<String, String> {
    let CleanText { text, lone_surrogates } = clean(value).ok_or("a text with invalid UTF-8")?;
    counts.lone_surrogates += lone_surrogates;
    Ok(text)
}

/// Labels or descriptions, by the number of their code ([`Requested::code_number`]).
pub(super) type Texts = BTreeMap<usize, Text>;

/// Aliases by the number of their code. A format may have `null` for no aliases.
pub(super) type Aliases = BTreeMap<usize, Option<Vec<Text>>>;

/// The texts of an entity, before cleaning. Texts of tables that are not requested can be omitted.
#[derive(Default)]
pub(super) struct EntityTexts {
    pub(super) labels: Texts,
    pub(super) descriptions: Texts,
    pub(super) aliases: Aliases,
    pub(super) sitelinks: Sitelinks,
}

impl Entity {
    /// Cleans the texts, and adds those of the requested languages.
    ///
    /// # Errors
    /// The reason why a text is invalid.
    pub(super) fn add_texts(
        &mut self,
        texts: &EntityTexts,
        requested: &Requested,
    ) -> Result<(), String> {
        let counts = &mut self.counts;
        let labels = requested_texts(&texts.labels, requested, counts)?;
        counts.labels += labels.terms.len() as u64;
        counts.variant_labels += labels.count(LabelSource::Variant);
        counts.fallback_labels += labels.count(LabelSource::Fallback);
        counts.mul_labels += labels.count(LabelSource::Mul);
        counts.foreign_labels += labels.language_mismatches;
        counts.empty_labels += labels.empty_count;
        let descriptions = requested_texts(&texts.descriptions, requested, counts)?;
        counts.descriptions += descriptions.terms.len() as u64;
        counts.fallback_descriptions += descriptions.terms.len() as u64;
        counts.fallback_descriptions -= descriptions.count(LabelSource::Language);
        counts.foreign_descriptions += descriptions.language_mismatches;
        counts.empty_descriptions += descriptions.empty_count;
        self.aliases = requested_aliases(&texts.aliases, &labels.terms, requested, counts)?;
        self.sitelinks = cleaned_sitelinks(&texts.sitelinks, requested, counts)?;
        self.labels = labels.terms;
        if requested.has_table(DumpTable::Labels) {
            self.names = labels.tally;
        }
        self.descriptions = descriptions.terms;
        Ok(())
    }
}

/// The non-empty cleaned texts in the requested languages, and counts of skipped texts.
#[derive(Default)]
struct RequestedTexts {
    /// Sorted by language.
    terms: Vec<Term>,
    /// For each requested language, in the order of the configuration, the source of its text.
    tally: Vec<NameTally>,
    language_mismatches: u64,
    empty_count: u64,
}

impl RequestedTexts {
    /// Returns the number of texts with this source.
    fn count(&self, source: LabelSource) -> u64 {
        self.terms.iter().filter(|term| term.source == source).count() as u64
    }
}

/// Cleans the texts and chooses a text for each requested language.
fn requested_texts(
    texts: &Texts,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<RequestedTexts, String> {
    let mut cleaned_texts = BTreeMap::new();
    let mut result = RequestedTexts::default();
    for (number, text) in texts {
        match text.cleaned(requested.code(*number), counts)? {
            CleanResult::LanguageMismatch => result.language_mismatches += 1,
            CleanResult::Missing => (),
            CleanResult::Empty => result.empty_count += 1,
            CleanResult::Valid(text) => {
                cleaned_texts.insert(*number, text);
            }
        }
    }
    for (language, choice) in requested.choose(&cleaned_texts) {
        result.tally.push(match choice {
            Choice::Text(text, source) => {
                result.terms.push(Term { language, text: text.clone(), source });
                NameTally::Label(source)
            }
            Choice::UnusedMul => NameTally::UnusedMul,
            Choice::Missing => NameTally::Missing,
        });
    }
    result.terms.sort_unstable();
    Ok(result)
}

/// Cleans the aliases and returns the aliases of each requested language, sorted by language. Texts
/// that equal the label of the language or an earlier alias are omitted.
fn requested_aliases(
    aliases: &Aliases,
    labels: &[Term],
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<Vec<Term>, String> {
    let mut cleaned_aliases = BTreeMap::new();
    for (number, texts) in aliases {
        let mut cleaned = Vec::new();
        for text in texts.iter().flatten() {
            if let CleanResult::Valid(text) = text.cleaned(requested.code(*number), counts)? {
                cleaned.push(text);
            }
        }
        cleaned_aliases.insert(*number, cleaned);
    }
    let mut terms: Vec<Term> = Vec::new();
    let mut known: BTreeSet<(Language, &str)> =
        labels.iter().map(|label| (label.language, label.text.as_str())).collect();
    for (language, text, source) in requested.choose_all(&cleaned_aliases) {
        if known.insert((language, text)) {
            terms.push(Term { language, text: text.to_owned(), source });
        }
    }
    counts.aliases += terms.len() as u64;
    let own = terms.iter().filter(|term| term.source == LabelSource::Language).count();
    counts.fallback_aliases += (terms.len() - own) as u64;
    terms.sort_unstable();
    Ok(terms)
}

/// Titles of Wikipedia pages by the number of their site ([`Requested::site_number`]).
pub(super) type Sitelinks = BTreeMap<usize, Title>;

/// Cleans the titles and returns the non-empty titles, sorted by language.
fn cleaned_sitelinks(
    sitelinks: &Sitelinks,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<Vec<(Language, String)>, String> {
    let mut cleaned_titles = BTreeMap::new();
    for (site, Title(title)) in sitelinks {
        let Some(title) = title else { continue };
        let text = clean_value(title, counts)?;
        match text.is_empty() {
            true => counts.empty_sitelinks += 1,
            false => {
                cleaned_titles.insert(*site, text);
            }
        }
    }
    let titles = requested.choose_titles(&cleaned_titles);
    let mut titles: Vec<_> = titles.map(|(code, title)| (code, title.to_owned())).collect();
    titles.sort_unstable();
    counts.sitelinks += titles.len() as u64;
    Ok(titles)
}

/// A title in WTF-8.
#[derive(Default)]
pub(super) struct Title(pub(super) Option<Vec<u8>>);
