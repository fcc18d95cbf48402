//! Labels, descriptions, aliases and sitelinks of an entity, as its JSON has them.
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;

use serde::de::{DeserializeSeed, MapAccess};
use serde::{Deserialize, Deserializer};

use super::counts::EntityCounts;
use super::json::{Each, Entries, Object, Raw};
use super::text::{Clean, clean};
use super::wanted::Wanted;
use crate::Language;

/// A text and the language that it says it is in.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    language: Option<Vec<u8>>,
    /// WTF-8.
    value: Option<Vec<u8>>,
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut text = Self::default();
        Object(&mut text).deserialize(deserializer)?;
        Ok(text)
    }
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

/// What becomes of a text of `language`.
enum Cleaned {
    /// Another language's.
    Foreign,
    Missing,
    Empty,
    Usable(String),
}

impl Text {
    fn cleaned(&self, language: &str, counts: &mut EntityCounts) -> Result<Cleaned, String> {
        let own = self.language.as_deref();
        if !own.is_some_and(|own| own.eq_ignore_ascii_case(language.as_bytes())) {
            return Ok(Cleaned::Foreign);
        }
        let Some(value) = &self.value else { return Ok(Cleaned::Missing) };
        let text = cleaned(value, counts)?;
        Ok(if text.is_empty() { Cleaned::Empty } else { Cleaned::Usable(text) })
    }
}

fn cleaned(value: &[u8], counts: &mut EntityCounts) -> Result<String, String> {
    let Clean { text, lone_surrogates } = clean(value).ok_or("a text that is no UTF-8")?;
    counts.lone_surrogates += lone_surrogates;
    Ok(text)
}

/// Labels or descriptions, by language.
#[derive(Default)]
pub(super) struct Texts(BTreeMap<String, Text>);

/// Those of [`Texts`] that can be written.
#[derive(Default)]
pub(super) struct Usable {
    /// Sorted by language.
    pub(super) texts: Vec<(Language, String)>,
    pub(super) fallbacks: u64,
    pub(super) foreign: u64,
    pub(super) empty: u64,
}

impl Texts {
    pub(super) fn read<'de, A: MapAccess<'de>>(
        map: &mut A,
        wanted: &Wanted,
    ) -> Result<Self, A::Error> {
        let mut reader = TextsReader { wanted, found: BTreeMap::new() };
        map.next_value_seed(Object(&mut reader))?;
        Ok(Self(reader.found))
    }

    pub(super) fn usable(
        &self,
        wanted: &Wanted,
        counts: &mut EntityCounts,
    ) -> Result<Usable, String> {
        let (mut usable, mut found) = (BTreeMap::new(), Usable::default());
        for (code, text) in &self.0 {
            match text.cleaned(code, counts)? {
                Cleaned::Foreign => found.foreign += 1,
                Cleaned::Missing => (),
                Cleaned::Empty => found.empty += 1,
                Cleaned::Usable(text) => {
                    usable.insert(code.as_str(), text);
                }
            }
        }
        let chosen = wanted.choose(&usable);
        Ok(Usable { texts: chosen.texts, fallbacks: chosen.fallbacks, ..found })
    }
}

struct TextsReader<'w> {
    wanted: &'w Wanted,
    found: BTreeMap<String, Text>,
}

impl<'de> Entries<'de> for TextsReader<'_> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if !self.wanted.reads(key) {
            return Ok(false);
        }
        self.found.insert(key.to_owned(), map.next_value()?);
        Ok(true)
    }
}

/// Aliases, by language.
#[derive(Default)]
pub(super) struct Aliases(BTreeMap<Language, Vec<Text>>);

impl Aliases {
    pub(super) fn read<'de, A: MapAccess<'de>>(
        map: &mut A,
        wanted: &Wanted,
    ) -> Result<Self, A::Error> {
        let mut reader = AliasesReader { wanted, found: BTreeMap::new() };
        map.next_value_seed(Object(&mut reader))?;
        Ok(Self(reader.found))
    }

    /// Sorted by language, in the order of the dump, each once.
    pub(super) fn usable(
        &self,
        counts: &mut EntityCounts,
    ) -> Result<Vec<(Language, String)>, String> {
        let mut usable = Vec::new();
        for (language, aliases) in &self.0 {
            let mut known = BTreeSet::new();
            for alias in aliases {
                match alias.cleaned(language.as_str(), counts)? {
                    Cleaned::Foreign => counts.foreign_aliases += 1,
                    Cleaned::Missing => (),
                    Cleaned::Empty => counts.empty_aliases += 1,
                    Cleaned::Usable(text) if known.insert(text.clone()) => {
                        counts.aliases += 1;
                        usable.push((*language, text));
                    }
                    Cleaned::Usable(_) => counts.repeated_aliases += 1,
                }
            }
        }
        Ok(usable)
    }
}

struct AliasesReader<'w> {
    wanted: &'w Wanted,
    found: BTreeMap<Language, Vec<Text>>,
}

impl<'de> Entries<'de> for AliasesReader<'_> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Some(language) = self.wanted.language(key) else { return Ok(false) };
        let mut aliases = Vec::new();
        map.next_value_seed(Each(&mut |alias: Text| aliases.push(alias), PhantomData))?;
        self.found.insert(language, aliases);
        Ok(true)
    }
}

/// Titles of pages of Wikipedias, by language.
#[derive(Default)]
pub(super) struct Sitelinks(BTreeMap<Language, Title>);

impl Sitelinks {
    pub(super) fn read<'de, A: MapAccess<'de>>(
        map: &mut A,
        wanted: &Wanted,
    ) -> Result<Self, A::Error> {
        let mut reader = SitelinksReader { wanted, found: BTreeMap::new() };
        map.next_value_seed(Object(&mut reader))?;
        Ok(Self(reader.found))
    }

    /// Sorted by language.
    pub(super) fn usable(
        &self,
        counts: &mut EntityCounts,
    ) -> Result<Vec<(Language, String)>, String> {
        let mut usable = Vec::new();
        for (language, title) in &self.0 {
            let Some(title) = &title.0 else { continue };
            let text = cleaned(title, counts)?;
            match text.is_empty() {
                true => counts.empty_sitelinks += 1,
                false => {
                    counts.sitelinks += 1;
                    usable.push((*language, text));
                }
            }
        }
        Ok(usable)
    }
}

struct SitelinksReader<'w> {
    wanted: &'w Wanted,
    found: BTreeMap<Language, Title>,
}

impl<'de> Entries<'de> for SitelinksReader<'_> {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        let Some(language) = self.wanted.wikipedia(key) else { return Ok(false) };
        let mut title = Title::default();
        map.next_value_seed(Object(&mut title))?;
        self.found.insert(language, title);
        Ok(true)
    }
}

/// WTF-8.
#[derive(Default)]
struct Title(Option<Vec<u8>>);

impl<'de> Entries<'de> for Title {
    fn entry<A: MapAccess<'de>>(&mut self, key: &str, map: &mut A) -> Result<bool, A::Error> {
        if key != "title" {
            return Ok(false);
        }
        self.0 = Some(map.next_value::<Raw<'de>>()?.0.into_owned());
        Ok(true)
    }
}
