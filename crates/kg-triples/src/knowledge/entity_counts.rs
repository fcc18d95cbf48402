//! Mention counts of entities, and resampling of mentions by these counts.
use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use crate::entity_linking::LinkedText;
use crate::{Error, Language};

/// Number of mentions of each entity in each language.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityCounts {
    by_language: BTreeMap<Language, BTreeMap<String, u64>>,
}

impl EntityCounts {
    /// Counts all mentions in `texts`.
    ///
    /// # Errors
    /// The first error that `texts` returns.
    pub fn from_texts(
        texts: impl Iterator<Item = Result<LinkedText, Error>>,
    ) -> Result<Self, Error> {
        let mut counts = Self::default();
        for text in texts {
            let text = text?;
            for mention in text.mentions {
                counts.add(text.language, mention.entity);
            }
        }
        Ok(counts)
    }

    pub(super) fn add(&mut self, language: Language, entity: String) {
        *self.by_language.entry(language).or_default().entry(entity).or_default() += 1;
    }

    /// Returns whether the entity is mentioned in any language.
    pub fn contains(&self, entity: &str) -> bool {
        self.by_language.values().any(|counts| counts.contains_key(entity))
    }

    /// Returns the number of mentions of an entity in a language.
    pub fn get(&self, language: Language, entity: &str) -> u64 {
        let counts = self.by_language.get(&language);
        counts.and_then(|counts| counts.get(entity)).copied().unwrap_or(0)
    }

    /// Returns the `max_entities` entities with the largest sum of `ln(1 + mentions)` over all
    /// languages.
    ///
    /// This score prefers entities that are mentioned often and in many languages.
    pub fn most_mentioned(&self, max_entities: usize) -> BTreeSet<&str> {
        let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
        for counts in self.by_language.values() {
            for (entity, count) in counts {
                *scores.entry(entity).or_default() += (*count as f64).ln_1p();
            }
        }
        let mut order: Vec<(&str, f64)> = scores.into_iter().collect();
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        order.into_iter().take(max_entities).map(|(entity, _)| entity).collect()
    }

    /// Returns a [`Resampling`] such that the number of examples of an entity with n mentions in a
    /// language is proportional to n^`exponent`.
    ///
    /// # Errors
    /// [`Error::Config`] if `exponent` is not from 0 to 1.
    pub fn resampling(&self, exponent: f64) -> Result<Resampling, Error> {
        if !(0.0..=1.0).contains(&exponent) {
            let value = exponent.to_string();
            return Err(Error::Config { key: "entity_smoothing", value, rule: "from 0 to 1" });
        }
        let language_weights = |counts: &BTreeMap<String, u64>| {
            let mentions: f64 = counts.values().map(|count| *count as f64).sum();
            let smoothed: f64 = counts.values().map(|count| (*count as f64).powf(exponent)).sum();
            let weight = |count: u64| mentions / smoothed * (count as f64).powf(exponent - 1.0);
            counts.iter().map(|(entity, count)| (entity.clone(), weight(*count))).collect()
        };
        let by_language = self.by_language.iter();
        let weights = by_language.map(|(language, counts)| (*language, language_weights(counts)));
        Ok(Resampling { weights: weights.collect() })
    }
}

/// Resampling of mentions: the expected number of examples per mention is c n^(x − 1).
///
/// In the formula, n is the number of mentions of the entity in the language, and x is the
/// exponent. For each language, c is chosen so that the mean over all its mentions is 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Resampling {
    weights: BTreeMap<Language, BTreeMap<String, f64>>,
}

impl Resampling {
    /// Draws the number of examples of a mention.
    pub(super) fn draw(&self, language: Language, entity: &str, rng: &mut impl Rng) -> usize {
        // Mentions that were not counted have weight 1.
        let weights = self.weights.get(&language);
        let mut expected = weights.and_then(|weights| weights.get(entity)).copied().unwrap_or(1.0);
        let mut count = 0;
        while expected > 0.0 && rng.random::<f64>() < expected {
            count += 1;
            expected -= 1.0;
        }
        count
    }
}
