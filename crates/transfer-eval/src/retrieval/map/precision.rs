//! P@k: how often a translation is among the k nearest.
use std::collections::HashMap;

use ndarray::Axis;
use serde::{Deserialize, Serialize};

use super::nearest::Search;
use super::{Dictionary, Neighbour, WordVectors, mean_similarity};
use crate::{Error, Result};

/// What becomes of words without a vector, or with no translation that has one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum OutOfVocabulary {
    /// They count as not found.
    #[default]
    Miss,
    /// They are left out.
    Skip,
}

/// From which side words are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Source words, among all target words.
    #[default]
    Forward,
    /// Target words, among all source words.
    Backward,
}

/// How translations are looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TranslationConfig {
    /// Neighbours whose similarity CSLS takes the mean of.
    pub neighbours: usize,
    /// Words without a vector.
    pub oov: OutOfVocabulary,
    /// From which side words are looked up.
    pub direction: Direction,
}

impl Default for TranslationConfig {
    fn default() -> Self {
        Self { neighbours: 10, oov: OutOfVocabulary::Miss, direction: Direction::Forward }
    }
}

/// Words of which a translation is among the first k, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Precision {
    /// k = 1.
    pub p_at_1: f64,
    /// k = 5.
    pub p_at_5: f64,
    /// k = 10.
    pub p_at_10: f64,
}

/// P@k of a dictionary, and what it counts.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct TranslationScore {
    /// By the cosine.
    pub cosine: Precision,
    /// By CSLS.
    pub csls: Precision,
    /// P@1 of guessing a candidate for each word that is looked up, in percent.
    pub chance: f64,
    /// Different words of the dictionary that are looked up.
    pub words: usize,
    /// Of these, words without a vector.
    pub without_vector: usize,
    /// Of these, words whose translations all lack a vector.
    pub without_translation: usize,
    /// Words that count: all, or those of neither kind, by [`OutOfVocabulary`].
    pub counted: usize,
    /// Words among which translations are looked for.
    pub candidates: usize,
}

/// The neighbours of a word that count.
const LONGEST: usize = 10;

/// P@1, P@5 and P@10 of `dictionary` over whole vocabularies, by cosine and by CSLS. One of several
/// translations is enough; of equal scores a translation is last, so that equal vectors find
/// nothing.
///
/// `source` has been mapped already; vectors of both have length 1 (or are zero). CSLS takes the
/// mean similarity of each candidate to its nearest words of the other side, over all of them.
///
/// # Errors
/// [`Error::Array`] if vectors do not fit; [`Error::Nothing`] if no word counts.
pub fn score_translations(
    source: &WordVectors,
    target: &WordVectors,
    dictionary: &Dictionary,
    config: &TranslationConfig,
) -> Result<TranslationScore> {
    match config.direction {
        Direction::Forward => look_up(source, target, dictionary, config),
        Direction::Backward => look_up(target, source, &dictionary.reversed(), config),
    }
}

/// A word's row, and those of its translations.
type Lookup = (usize, Vec<usize>);

fn look_up(
    words: &WordVectors,
    candidates: &WordVectors,
    dictionary: &Dictionary,
    config: &TranslationConfig,
) -> Result<TranslationScore> {
    if config.neighbours == 0 {
        return Err(Error::config("neighbours", 0, "at least 1"));
    }
    let entries = dictionary.by_source();
    let (lookups, without_vector) = lookups(&entries, words, candidates);
    let without_translation = entries.len() - without_vector - lookups.len();
    let counted = match config.oov {
        OutOfVocabulary::Miss => entries.len(),
        OutOfVocabulary::Skip => lookups.len(),
    };
    if counted == 0 {
        return Err(Error::Nothing { what: "word with a vector and a translation that has one" });
    }
    let rows: Vec<usize> = lookups.iter().map(|(row, _)| *row).collect();
    let queries = words.vectors().select(Axis(0), &rows);
    let all = candidates.vectors().view();
    let precision = |means: Option<&[f64]>| {
        let is_gold = |query: usize, candidate: usize| {
            lookups.get(query).is_some_and(|(_, golds)| golds.contains(&candidate))
        };
        let found = Search::new(queries.view(), all.reborrow(), means)?;
        let found = found.best(LONGEST, is_gold, |best| best);
        Ok::<_, Error>(precision(&lookups, &found, counted))
    };
    let means = mean_similarity(all, words.vectors().view(), config.neighbours)?;
    Ok(TranslationScore {
        cosine: precision(None)?,
        csls: precision(Some(&means))?,
        chance: chance(&lookups, candidates.words().len(), counted),
        words: entries.len(),
        without_vector,
        without_translation,
        counted,
        candidates: candidates.words().len(),
    })
}

/// The words that can be looked up, and the number of those that have no vector.
fn lookups(
    entries: &[(&str, Vec<&str>)],
    words: &WordVectors,
    candidates: &WordVectors,
) -> (Vec<Lookup>, usize) {
    let (rows, golds): (HashMap<_, _>, HashMap<_, _>) = (words.index(), candidates.index());
    let (mut lookups, mut without_vector) = (Vec::new(), 0);
    for (word, translations) in entries {
        let golds: Vec<usize> =
            translations.iter().filter_map(|word| golds.get(word).copied()).collect();
        match rows.get(word) {
            None => without_vector += 1,
            Some(_) if golds.is_empty() => {}
            Some(&row) => lookups.push((row, golds)),
        }
    }
    (lookups, without_vector)
}

fn precision(lookups: &[Lookup], found: &[Vec<Neighbour>], counted: usize) -> Precision {
    let mut hits = [0_usize; 3];
    for ((_, golds), best) in lookups.iter().zip(found) {
        let place = best.iter().position(|one| golds.contains(&one.index));
        for (hits, k) in hits.iter_mut().zip([1, 5, LONGEST]) {
            *hits += usize::from(place.is_some_and(|place| place < k));
        }
    }
    let [p_at_1, p_at_5, p_at_10] = hits.map(|hits| 100.0 * hits as f64 / counted as f64);
    Precision { p_at_1, p_at_5, p_at_10 }
}

fn chance(lookups: &[Lookup], candidates: usize, counted: usize) -> f64 {
    let golds: usize = lookups.iter().map(|(_, golds)| golds.len()).sum();
    100.0 * golds as f64 / candidates as f64 / counted as f64
}
