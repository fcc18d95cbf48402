//! Cleaning and selection of an entity's labels, descriptions and sitelinks.
use std::collections::BTreeMap;

use serde::de::MapAccess;

use super::counts::EntityCounts;
use super::json::{FromEntries, RawString, VisitEntries};
use super::requested::Requested;
use super::text::{CleanText, clean};
use crate::Language;

/// The text and language code of a label or description, before cleaning.
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

/// Labels or descriptions, by language.
pub(super) type Texts = BTreeMap<String, FromEntries<Text>>;

/// The non-empty cleaned texts in the requested languages, and counts of skipped texts.
#[derive(Default)]
pub(super) struct RequestedTexts {
    /// Sorted by language.
    pub(super) texts: Vec<(Language, String)>,
    pub(super) fallback_count: u64,
    pub(super) language_mismatches: u64,
    pub(super) empty_count: u64,
}

/// Cleans the texts and chooses a text for each requested language.
pub(super) fn requested_texts(
    texts: &Texts,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<RequestedTexts, String> {
    let mut cleaned_texts = BTreeMap::new();
    let mut skipped = RequestedTexts::default();
    for (code, FromEntries(text)) in texts {
        match text.cleaned(code, counts)? {
            CleanResult::LanguageMismatch => skipped.language_mismatches += 1,
            CleanResult::Missing => (),
            CleanResult::Empty => skipped.empty_count += 1,
            CleanResult::Valid(text) => {
                cleaned_texts.insert(code.as_str(), text);
            }
        }
    }
    let chosen = requested.choose_texts(&cleaned_texts);
    Ok(RequestedTexts { texts: chosen.texts, fallback_count: chosen.fallback_count, ..skipped })
}

/// Titles of Wikipedia pages by language.
pub(super) type Sitelinks = BTreeMap<Language, FromEntries<Title>>;

/// Cleans the titles and returns the non-empty titles, sorted by language.
pub(super) fn cleaned_sitelinks(
    sitelinks: &Sitelinks,
    counts: &mut EntityCounts,
) -> Result<Vec<(Language, String)>, String> {
    let mut titles = Vec::new();
    for (language, FromEntries(Title(title))) in sitelinks {
        let Some(title) = title else { continue };
        let text = clean_value(title, counts)?;
        match text.is_empty() {
            true => counts.empty_sitelinks += 1,
            false => {
                counts.sitelinks += 1;
                titles.push((*language, text));
            }
        }
    }
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
