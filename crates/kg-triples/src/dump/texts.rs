//! Labels, descriptions and sitelinks of an entity, as in its JSON.
use std::collections::BTreeMap;

use serde::de::MapAccess;

use super::counts::EntityCounts;
use super::json::{Entries, FromEntries, Raw};
use super::requested::Requested;
use super::text::{Clean, clean};
use crate::Language;

/// A text with its language code, as in the JSON.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    language: Option<Vec<u8>>,
    /// The text in WTF-8.
    value: Option<Vec<u8>>,
}

impl<'de> Entries<'de> for Text {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let field = match key {
            "language" => &mut self.language,
            "value" => &mut self.value,
            _ => return Ok(false),
        };
        *field = Some(map.next_value::<Raw<'de>>()?.0.into_owned());
        Ok(true)
    }
}

/// Result of cleaning the text of a language.
enum Cleaned {
    /// The language in the JSON differs from the key.
    Foreign,
    Missing,
    Empty,
    Valid(String),
}

impl Text {
    fn cleaned(&self, language: &str, counts: &mut EntityCounts) -> Result<Cleaned, String> {
        let json_language = self.language.as_deref();
        if !json_language.is_some_and(|code| code.eq_ignore_ascii_case(language.as_bytes())) {
            return Ok(Cleaned::Foreign);
        }
        let Some(value) = &self.value else { return Ok(Cleaned::Missing) };
        let text = cleaned(value, counts)?;
        Ok(if text.is_empty() { Cleaned::Empty } else { Cleaned::Valid(text) })
    }
}

fn cleaned(value: &[u8], counts: &mut EntityCounts) -> Result<String, String> {
    let Clean { text, lone_surrogates } = clean(value).ok_or("a text with invalid UTF-8")?;
    counts.lone_surrogates += lone_surrogates;
    Ok(text)
}

/// Labels or descriptions, by language.
pub(super) type Texts = BTreeMap<String, FromEntries<Text>>;

/// The non-empty texts of [`Texts`] in the requested languages.
#[derive(Default)]
pub(super) struct RequestedTexts {
    /// Sorted by language.
    pub(super) texts: Vec<(Language, String)>,
    pub(super) fallbacks: u64,
    pub(super) foreign: u64,
    pub(super) empty: u64,
}

/// Cleans the texts and chooses those of the requested languages.
pub(super) fn requested_texts(
    texts: &Texts,
    requested: &Requested,
    counts: &mut EntityCounts,
) -> Result<RequestedTexts, String> {
    let mut cleaned_texts = BTreeMap::new();
    let mut skipped = RequestedTexts::default();
    for (code, FromEntries(text)) in texts {
        match text.cleaned(code, counts)? {
            Cleaned::Foreign => skipped.foreign += 1,
            Cleaned::Missing => (),
            Cleaned::Empty => skipped.empty += 1,
            Cleaned::Valid(text) => {
                cleaned_texts.insert(code.as_str(), text);
            }
        }
    }
    let chosen = requested.choose(&cleaned_texts);
    Ok(RequestedTexts { texts: chosen.texts, fallbacks: chosen.fallbacks, ..skipped })
}

/// Titles of Wikipedia pages by language.
pub(super) type Sitelinks = BTreeMap<Language, FromEntries<Title>>;

/// Cleans the titles and returns those that are not empty, sorted by language.
pub(super) fn cleaned_sitelinks(
    sitelinks: &Sitelinks,
    counts: &mut EntityCounts,
) -> Result<Vec<(Language, String)>, String> {
    let mut cleaned_texts = Vec::new();
    for (language, FromEntries(Title(title))) in sitelinks {
        let Some(title) = title else { continue };
        let text = cleaned(title, counts)?;
        match text.is_empty() {
            true => counts.empty_sitelinks += 1,
            false => {
                counts.sitelinks += 1;
                cleaned_texts.push((*language, text));
            }
        }
    }
    Ok(cleaned_texts)
}

/// A title in WTF-8.
#[derive(Default)]
pub(super) struct Title(Option<Vec<u8>>);

impl<'de> Entries<'de> for Title {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "title" {
            return Ok(false);
        }
        self.0 = Some(map.next_value::<Raw<'de>>()?.0.into_owned());
        Ok(true)
    }
}
