//! Cleaning and selection of an entity's labels, descriptions, aliases and sitelinks.
use std::collections::{BTreeMap, BTreeSet};

use serde::de::MapAccess;

use super::clean::{CleanText, clean};
use super::counts::EntityCounts;
use super::json::values::{FromEntries, ObjectList, RawString, VisitEntries};
use super::record::NameTally;
use super::requested::{Choice, Requested, Term};
use crate::{LabelSource, Language};

/// The text and language code of a label, description or alias, before cleaning.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    language: Option<Vec<u8>>,
    /// The text in WTF-8.
    value: Option<Vec<u8>>,
}

impl<'de> VisitEntries<'de> for Text {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match key {
            "language" => &mut self.language,
            "value" => &mut self.value,
            _ => return Ok(false),
        };
        *field = Some(map.next_value::<RawString<'de>>()?.0.into_owned());
        Ok(true)
    }
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
pub(super) type Texts = BTreeMap<usize, FromEntries<Text>>;

/// Aliases by the number of their code.
pub(super) type Aliases = BTreeMap<usize, ObjectList<Text>>;

/// The non-empty cleaned texts in the requested languages, and counts of skipped texts.
#[derive(Default)]
pub(super) struct RequestedTexts {
    /// Sorted by language.
    pub(super) terms: Vec<Term>,
    /// For each requested language, in the order of the configuration, the source of its text.
    pub(super) tally: Vec<NameTally>,
    pub(super) language_mismatches: u64,
    pub(super) empty_count: u64,
}

impl RequestedTexts {
    /// Returns the number of texts with this source.
    pub(super) fn count(&self, source: LabelSource) -> u64 {
        self.terms.iter().filter(|term| term.source == source).count() as u64
    }
}

/// Cleans the texts and chooses a text for each requested language.
pub(super) fn requested_texts(
    texts: &Texts,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<RequestedTexts, String> {
    let mut cleaned_texts = BTreeMap::new();
    let mut result = RequestedTexts::default();
    for (number, FromEntries(text)) in texts {
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
pub(super) fn requested_aliases(
    aliases: &Aliases,
    labels: &[Term],
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<Vec<Term>, String> {
    let mut cleaned_aliases = BTreeMap::new();
    for (number, texts) in aliases {
        let mut cleaned = Vec::new();
        for FromEntries(text) in texts.iter().flatten() {
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
pub(super) type Sitelinks = BTreeMap<usize, FromEntries<Title>>;

/// Cleans the titles and returns the non-empty titles, sorted by language.
pub(super) fn cleaned_sitelinks(
    sitelinks: &Sitelinks,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<Vec<(Language, String)>, String> {
    let mut cleaned_titles = BTreeMap::new();
    for (site, FromEntries(Title(title))) in sitelinks {
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
pub(super) struct Title(Option<Vec<u8>>);

impl<'de> VisitEntries<'de> for Title {
    fn visit_entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "title" {
            return Ok(false);
        }
        self.0 = Some(map.next_value::<RawString<'de>>()?.0.into_owned());
        Ok(true)
    }
}
