use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

use rand::seq::IndexedRandom;
use rayon::prelude::*;
use tokenizers::Tokenizer;

use super::Candidate;
use super::candidate::choose_candidates;
use crate::entity_linking::{PageText, page_files, read_pages};
use crate::tokens::{Specials, encode, without_limits};
use crate::{Error, Language, seed};

/// Texts that describe entities, by entity and language.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::knowledge::Descriptions;
///
/// let mut descriptions = Descriptions::default();
/// descriptions.add("Q70", Language::new("en")?, "Bern is the federal city of Switzerland.")?;
/// descriptions.add("Q70", Language::new("de")?, "Bern ist die Bundesstadt der Schweiz.")?;
/// assert_eq!(descriptions.counts().len(), 2);
/// # Ok::<(), kg_triples::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Descriptions {
    texts: BTreeMap<String, BTreeMap<Language, Box<str>>>,
}

impl Descriptions {
    /// Adds a description without its leading and trailing white space.
    ///
    /// # Errors
    /// [`Error::Value`] if the id or text is blank, or if the entity already has a description in
    /// `language`.
    pub fn add(&mut self, entity: &str, language: Language, text: &str) -> Result<(), Error> {
        let text = text.trim();
        for (field, value) in [("entity", entity.trim()), ("description", text)] {
            if value.is_empty() {
                let (expected, got) = ("some text".into(), "an empty text".into());
                return Err(Error::Value { field, expected, got });
            }
        }
        let by_language = match self.texts.get_mut(entity) {
            Some(descriptions) => descriptions,
            None => self.texts.entry(entity.to_owned()).or_default(),
        };
        if by_language.insert(language, text.into()).is_some() {
            return Err(Error::Value {
                field: "description",
                expected: format!("one description of {entity:?} in language {language:?}"),
                got: "a second description".into(),
            });
        }
        Ok(())
    }

    /// Reads the descriptions of the pages `entities.<lang>.jsonl[.gz]` in a folder, for the
    /// languages that `predicate` accepts.
    ///
    /// # Errors
    /// As [`page_files`] and [`read_pages`]; [`Error::Json`] with file and line for a second
    /// description of an entity in a language.
    pub fn from_pages(
        folder: impl AsRef<Path>,
        page_text: PageText,
        predicate: impl Fn(Language) -> bool,
    ) -> Result<Self, Error> {
        let mut descriptions = Self::default();
        let mut pages = page_files(folder)?;
        pages.retain(|(language, _)| predicate(*language));
        read_pages(&pages, |language, page| match page.text(page_text) {
            Some(text) => descriptions.add(&page.id, language, text),
            None => Ok(()),
        })?;
        Ok(descriptions)
    }

    /// Removes the descriptions of all entities that `predicate` rejects.
    pub fn retain(&mut self, predicate: impl Fn(&str) -> bool) {
        self.texts.retain(|entity, _| predicate(entity));
    }

    /// Returns the description of `entity` in `language`.
    pub fn get(&self, entity: &str, language: Language) -> Option<&str> {
        self.texts.get(entity)?.get(&language).map(|text| &**text)
    }

    /// Returns the ids of all described entities, sorted.
    pub fn entities(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// Returns the number of described entities by language.
    pub fn counts(&self) -> BTreeMap<Language, usize> {
        let mut counts = BTreeMap::new();
        for language in self.texts.values().flat_map(BTreeMap::keys) {
            *counts.entry(*language).or_default() += 1;
        }
        counts
    }

    /// Encodes all descriptions as `<s> … </s>`, truncated to `max_tokens` tokens including special
    /// tokens (XLM-K §4.1: the first 256 tokens of a page).
    ///
    /// Special tokens in the text, such as a literal `<mask>`, are removed from the ids.
    ///
    /// # Errors
    /// [`Error::Config`] if `max_tokens` is below 3; [`Error::Tokenizer`] if a special token is
    /// missing or a text cannot be encoded.
    ///
    /// ```
    /// use kg_triples::Language;
    /// use kg_triples::knowledge::Descriptions;
    /// # let tokenizer = tokenizers::Tokenizer::from_file(
    /// #     concat!(env!("CARGO_MANIFEST_DIR"), "/../testkit/fixtures/tokenizer.json")).unwrap();
    /// // let tokenizer = Tokenizer::from_file("xlm-roberta-base/tokenizer.json")?;
    /// let mut descriptions = Descriptions::default();
    /// descriptions.add("Q70", Language::new("de")?, "Bern ist die Bundesstadt der Schweiz.")?;
    /// let encoded = descriptions.encode(&tokenizer, 6)?;
    /// let (language, ids) = &encoded.get("Q70")[0];
    /// assert_eq!((language.as_str(), ids.len()), ("de", 6));
    /// assert_eq!((ids[0], ids[5]), (0, 2)); // <s> and </s>
    /// # Ok::<(), kg_triples::Error>(())
    /// ```
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        max_tokens: usize,
    ) -> Result<EncodedDescriptions, Error> {
        let text_budget = text_budget(max_tokens, "description_tokens")?;
        let specials = Specials::find(tokenizer)?;
        let tokenizer = without_limits(tokenizer)?;
        let texts: Vec<(&String, &BTreeMap<Language, Box<str>>)> = self.texts.iter().collect();
        let encoded = texts.into_par_iter().map(|(entity, texts)| {
            let mut entity_descriptions = Vec::with_capacity(texts.len());
            for (language, text) in texts {
                let mut ids = encode(&tokenizer, text)?;
                ids.retain(|id| !specials.is_control(*id));
                ids.truncate(text_budget);
                if !ids.is_empty() {
                    entity_descriptions.push((*language, specials.enclose(&ids)));
                }
            }
            Ok((entity.clone(), entity_descriptions))
        });
        let mut entities: HashMap<_, _> = encoded.collect::<Result<_, Error>>()?;
        entities.retain(|_, entity_descriptions: &mut Vec<_>| !entity_descriptions.is_empty());
        Ok(EncodedDescriptions { entities })
    }
}

/// Returns the maximum number of tokens between `<s>` and `</s>`, which is `max_tokens` − 2.
pub(super) fn text_budget(max_tokens: usize, key: &'static str) -> Result<usize, Error> {
    let rule = "3 or more: two special tokens and one of text";
    let invalid = || Error::Config { key, value: max_tokens.to_string(), rule };
    max_tokens.checked_sub(2).filter(|budget| *budget > 0).ok_or_else(invalid)
}

/// Descriptions as token ids; returned by [`Descriptions::encode`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EncodedDescriptions {
    /// The descriptions of each entity, sorted by language code. An entity has at least one
    /// description.
    entities: HashMap<String, Vec<(Language, Vec<u32>)>>,
}

impl EncodedDescriptions {
    /// Returns the descriptions of `entity` with their languages, sorted by language code.
    pub fn get(&self, entity: &str) -> &[(Language, Vec<u32>)] {
        self.entities.get(entity).map_or(&[], Vec::as_slice)
    }

    /// Returns the number of described entities.
    pub fn entity_count(&self) -> usize {
        self.entities.len()
    }

    /// Returns all languages of descriptions, sorted by code.
    pub(super) fn known_languages(&self) -> Vec<Language> {
        let languages = self.entities.values().flatten().map(|(language, _)| *language);
        languages.collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Returns the descriptions of `entity` in languages other than `language` if `multilingual` is
    /// set, otherwise its description in `language`.
    pub(super) fn suitable(
        &self,
        entity: &str,
        language: Language,
        multilingual: bool,
    ) -> Vec<&(Language, Vec<u32>)> {
        self.get(entity).iter().filter(|(code, _)| (*code != language) == multilingual).collect()
    }

    /// Selects the candidate descriptions of a probe: first the descriptions of `gold_pairs`, then
    /// one description of each of several random other entities, up to `max_candidates` entities in
    /// total. The random choices depend only on `seed` and the entity's id.
    pub fn candidates(
        &self,
        gold_pairs: &BTreeSet<(&str, Language)>,
        max_candidates: usize,
        seed: u64,
    ) -> Vec<Candidate> {
        let entities: BTreeSet<&str> = gold_pairs.iter().map(|(entity, _)| *entity).collect();
        let all_entities = self.entities.keys().map(String::as_str);
        let entities = choose_candidates(&entities, all_entities, max_candidates, seed);
        let mut candidates = Vec::new();
        for entity in entities {
            let is_gold =
                |description: &&(Language, Vec<u32>)| gold_pairs.contains(&(entity, description.0));
            let mut chosen: Vec<_> = self.get(entity).iter().filter(is_gold).collect();
            if chosen.is_empty() {
                let mut rng = seed::stream_rng(seed, entity, 0);
                chosen.extend(self.get(entity).choose(&mut rng));
            }
            candidates.extend(chosen.into_iter().map(|(language, ids)| Candidate {
                entity: entity.to_owned(),
                language: *language,
                input_ids: ids.clone(),
            }));
        }
        candidates
    }
}
