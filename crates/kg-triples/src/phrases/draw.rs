//! Random selection of passages.
use std::collections::{BTreeMap, HashSet};

use rand::RngCore;

use super::PhrasePassage;
use crate::{Language, seed};

/// Draws at most `count` passages, distributed over the languages as evenly as possible. The drawn
/// passages are in the order of `passages`.
///
/// The LAKM paper uses as many passages for LAKM as examples for its other task, mixMRC: "the total
/// amount of training data in LAKM is the same as that of mixMRC" (Yuan et al. 2020, §3.2). Each
/// passage has a random number that depends on seed and text. In each language, the passages with
/// the smallest numbers are selected, so a smaller draw is a subset of a larger draw with the same
/// seed.
///
/// ```
/// use kg_triples::Language;
/// use kg_triples::phrases::{PhrasePassage, draw_passages};
///
/// let passage = |language: &str, number: usize| PhrasePassage {
///     language: Language::new(language).unwrap(),
///     text: format!("passage {number}"),
///     phrases: Vec::new(),
/// };
/// let all: Vec<_> = (0..10).flat_map(|k| [passage("en", k), passage("de", k)]).collect();
/// let drawn = draw_passages(all.clone(), 6, 42);
/// assert_eq!(drawn.iter().filter(|passage| passage.language.as_str() == "en").count(), 3);
/// assert_eq!(drawn, draw_passages(all, 6, 42));
/// ```
#[must_use]
pub fn draw_passages(passages: Vec<PhrasePassage>, count: usize, seed: u64) -> Vec<PhrasePassage> {
    if passages.len() <= count {
        return passages;
    }
    let mut by_language: BTreeMap<Language, Vec<(u64, usize)>> = BTreeMap::new();
    for (at, passage) in passages.iter().enumerate() {
        let ranked_position = (rank(seed, passage.language, &passage.text), at);
        by_language.entry(passage.language).or_default().push(ranked_position);
    }
    // Languages with few passages are processed first. If such a language has fewer passages than
    // its share, the rest of the share is divided among the remaining languages.
    let mut groups: Vec<Vec<(u64, usize)>> = by_language.into_values().collect();
    groups.sort_by_key(Vec::len);
    let (languages, mut remaining_count, mut selected) = (groups.len(), count, HashSet::new());
    for (index, mut group) in groups.into_iter().enumerate() {
        group.sort_unstable();
        group.truncate(remaining_count / (languages - index));
        remaining_count -= group.len();
        selected.extend(group.into_iter().map(|(_, at)| at));
    }
    let indexed_passages = passages.into_iter().enumerate();
    indexed_passages.filter(|(at, _)| selected.contains(at)).map(|(_, passage)| passage).collect()
}

/// Returns the random number of a passage. The passages with the smallest numbers are selected.
pub(super) fn rank(seed: u64, language: Language, text: &str) -> u64 {
    let item = seed::hash_of(&[language.as_str(), text]);
    seed::item_rng("phrase passages", seed, item).next_u64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passages(counts: &[(&str, usize)]) -> Vec<PhrasePassage> {
        let mut passages = Vec::new();
        for (code, count) in counts {
            let language = Language::new(code).unwrap();
            passages.extend((0..*count).map(|k| {
                let text = format!("{code} {k}");
                PhrasePassage { language, text, phrases: Vec::new() }
            }));
        }
        passages
    }

    fn counts(passages: &[PhrasePassage]) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for passage in passages {
            *counts.entry(passage.language.as_str()).or_default() += 1;
        }
        counts
    }

    #[test]
    fn passages_are_divided_evenly_over_languages() {
        let all = passages(&[("en", 100), ("de", 4), ("es", 60)]);
        for (count, expected) in [
            (9, [("de", 3), ("en", 3), ("es", 3)]),
            (60, [("de", 4), ("en", 28), ("es", 28)]),
            (61, [("de", 4), ("en", 29), ("es", 28)]),
            (150, [("de", 4), ("en", 86), ("es", 60)]),
            (164, [("de", 4), ("en", 100), ("es", 60)]),
            (1000, [("de", 4), ("en", 100), ("es", 60)]),
        ] {
            let drawn = draw_passages(all.clone(), count, 7);
            assert_eq!(counts(&drawn), BTreeMap::from(expected), "{count}");
        }
        assert!(draw_passages(all, 0, 7).is_empty());
    }

    #[test]
    fn a_draw_depends_only_on_seed_and_texts() {
        let all = passages(&[("en", 50), ("de", 50)]);
        let drawn = draw_passages(all.clone(), 20, 1);
        let texts = |drawn: &[PhrasePassage]| -> Vec<String> {
            let mut texts: Vec<String> = drawn.iter().map(|passage| passage.text.clone()).collect();
            texts.sort();
            texts
        };
        let reversed: Vec<_> = all.iter().rev().cloned().collect();
        assert_eq!(texts(&draw_passages(reversed, 20, 1)), texts(&drawn));
        assert_ne!(draw_passages(all.clone(), 20, 2), drawn);
        // `drawn` is a subset of a larger draw and has the order of the input.
        let larger_draw = draw_passages(all.clone(), 40, 1);
        assert!(drawn.iter().all(|passage| larger_draw.contains(passage)));
        let positions: Vec<_> = drawn
            .iter()
            .map(|passage| all.iter().position(|other| other == passage).unwrap())
            .collect();
        assert!(positions.is_sorted());
    }
}
