//! Training triples, grouped by the languages in which their subject can be described.
use rand::Rng;
use rand::distr::Distribution;
use rand::distr::weighted::WeightedIndex;
use rand::seq::IndexedRandom;

use crate::Language;

/// For each language, the training triples whose subject can be described in the language.
pub(super) struct FactsByLanguage {
    facts: Vec<(Language, Vec<u32>)>,
    /// `None` if there are no triples.
    weights: Option<WeightedIndex<f64>>,
}

impl FactsByLanguage {
    pub(super) fn new(
        languages: &[Language],
        train: &[u32],
        smoothing: f64,
        can_be_drawn: impl Fn(u32, Language) -> bool,
    ) -> Self {
        let facts_of = |&language: &Language| {
            let facts: Vec<u32> =
                train.iter().copied().filter(|&fact| can_be_drawn(fact, language)).collect();
            (!facts.is_empty()).then_some((language, facts))
        };
        let facts: Vec<(Language, Vec<u32>)> = languages.iter().filter_map(facts_of).collect();
        let weights = facts.iter().map(|(_, facts)| (facts.len() as f64).powf(smoothing));
        let weights = (!facts.is_empty())
            .then(|| WeightedIndex::new(weights).expect("counts of triples are positive"));
        Self { facts, weights }
    }

    /// Draws a language for the subject, and then one of the triples of this language; `None` if
    /// there are no triples.
    pub(super) fn sample(&self, rng: &mut impl Rng) -> Option<(Language, u32)> {
        let (language, facts) = &self.facts[self.weights.as_ref()?.sample(rng)];
        Some((*language, *facts.choose(rng).expect("a language has triples")))
    }
}
