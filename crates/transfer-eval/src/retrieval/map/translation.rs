//! Word translation as an evaluation of maps: precision at k by cosine and CSLS.
use std::collections::{HashMap, HashSet};

use ndarray::{Array2, ArrayView2, Axis};
use serde::Serialize;

use super::refine::{CSLS_NEIGHBOURS, refine};
use super::{
    Dictionary, LinearMap, MapConfig, RefinementRound, WordVectors, map_rows, mean_similarity,
    nearest_neighbours,
};
use crate::{Error, Result};

/// Percentage of words with a correct translation among the k nearest target words.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Precision {
    /// k = 1.
    pub p_at_1: f64,
    /// k = 5.
    pub p_at_5: f64,
    /// k = 10.
    pub p_at_10: f64,
}

/// Precision with two measures of similarity.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct TranslationScore {
    /// Precision by cosine.
    pub cosine: Precision,
    /// Precision by CSLS with 10 neighbours.
    pub csls: Precision,
}

/// The result of [`evaluate_translation`].
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TranslationReport {
    /// Number of source words with a vector.
    pub source_words: usize,
    /// Number of target words with a vector. All of them are candidates.
    pub target_words: usize,
    /// Number of training pairs with two vectors.
    pub training_pairs: usize,
    /// Number of training pairs without two vectors, which are not used.
    pub skipped_training_pairs: usize,
    /// Number of distinct source words of the test dictionary.
    pub test_words: usize,
    /// Number of test words that are scored: the word has a vector, and at least one of its
    /// translations.
    pub scored_words: usize,
    /// Number of test words that are source words of training pairs, too.
    pub test_words_in_training: usize,
    /// P@1 of random translations, in percent.
    pub chance: f64,
    /// Control: score of the normalised vectors without a map.
    pub without_map: TranslationScore,
    /// Score of the map that is fitted to the training pairs.
    pub mapped: TranslationScore,
    /// Score of the refined map; `None` without refinement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refined: Option<TranslationScore>,
    /// The fitted map, and the rounds of refinement.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<RefinementRound>,
}

/// The vectors of both languages in the space of the target language.
#[derive(Clone, Debug, PartialEq)]
pub struct MappedVectors {
    /// Normalised and mapped vectors of the source language.
    pub source: WordVectors,
    /// Normalised vectors of the target language.
    pub target: WordVectors,
}

/// Maximum k.
const MAX_K: usize = 10;

/// Fits an orthogonal map to the pairs of `training`, and translates the source words of `test` with
/// it: the candidates are all target words, and one correct translation suffices.
///
/// Vectors are scaled to unit length, centred and scaled again. CSLS uses the mean similarity of
/// each target word to its 10 nearest source words. Candidates with the score of a correct
/// translation are ranked before it. Test words that lack a vector, or whose translations all lack
/// vectors, are counted but not scored, as in MUSE and VecMap.
///
/// The map is refined in at most `refine_rounds` rounds: it is fitted again to the training pairs and
/// to mutual nearest neighbours among the first 20,000 words of each language.
///
/// # Errors
/// [`Error::Array`] if the vectors of the two languages differ in their numbers of dimensions;
/// [`Error::Nothing`] without a training pair or a test word to score.
pub fn evaluate_translation(
    source: WordVectors,
    target: WordVectors,
    training: &Dictionary,
    test: &Dictionary,
    refine_rounds: usize,
) -> Result<(TranslationReport, MappedVectors)> {
    let (source_rows, target_rows) = (source.rows(), target.rows());
    let pair_rows = |(from, to): &(String, String)| {
        Some((*source_rows.get(from.as_str())?, *target_rows.get(to.as_str())?))
    };
    let pairs: Vec<(usize, usize)> = training.pairs().iter().filter_map(pair_rows).collect();
    let test = test.by_source();
    let queries = find_queries(&test, &source_rows, &target_rows);
    if queries.is_empty() {
        return Err(Error::Nothing {
            what: "test word with a vector and a translation with a vector",
        });
    }
    let training_words: HashSet<&str> = training.pairs().iter().map(|(from, _)| &**from).collect();
    let in_training = test.iter().filter(|(word, _)| training_words.contains(word)).count();

    let (source_words, mut source) = source.into_parts();
    let (target_words, mut target) = target.into_parts();
    let map = LinearMap::fit(&mut source, &mut target, &pairs, &MapConfig::default())?;
    let score = |source: ArrayView2<'_, f32>| score(source, target.view(), &queries);
    let without_map = score(source.view())?;
    let mut mapped = map_rows(source.view(), map.matrix().view())?;
    let mapped_score = score(mapped.view())?;
    let (mut refined, mut rounds) = (None, Vec::new());
    if refine_rounds > 0 {
        let matrix;
        (matrix, rounds) =
            refine(source.view(), target.view(), &pairs, map.matrix().clone(), refine_rounds)?;
        mapped = map_rows(source.view(), matrix.view())?;
        refined = Some(score(mapped.view())?);
    }
    let n_golds: usize = queries.iter().map(|query| query.golds.len()).sum();
    let report = TranslationReport {
        source_words: source_words.len(),
        target_words: target_words.len(),
        training_pairs: pairs.len(),
        skipped_training_pairs: training.pairs().len() - pairs.len(),
        test_words: test.len(),
        scored_words: queries.len(),
        test_words_in_training: in_training,
        chance: 100.0 * n_golds as f64 / (target_words.len() * queries.len()) as f64,
        without_map,
        mapped: mapped_score,
        refined,
        rounds,
    };
    let (source, target) =
        (WordVectors::new(source_words, mapped)?, WordVectors::new(target_words, target)?);
    Ok((report, MappedVectors { source, target }))
}

/// A word to translate: its row, and the rows of its translations.
struct Query {
    row: usize,
    golds: Vec<usize>,
}

/// Returns the words that have a vector and a translation with a vector.
fn find_queries(
    words: &[(&str, Vec<&str>)],
    source_rows: &HashMap<&str, usize>,
    target_rows: &HashMap<&str, usize>,
) -> Vec<Query> {
    let query = |(word, translations): &(&str, Vec<&str>)| {
        let row = *source_rows.get(word)?;
        let with_vector = translations.iter().filter(|&word| target_rows.contains_key(word));
        let golds: Vec<usize> = with_vector.map(|word| target_rows[word]).collect();
        (!golds.is_empty()).then_some(Query { row, golds })
    };
    words.iter().filter_map(query).collect()
}

fn score(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    queries: &[Query],
) -> Result<TranslationScore> {
    let rows: Vec<usize> = queries.iter().map(|query| query.row).collect();
    let vectors: Array2<f32> = source.select(Axis(0), &rows);
    // Up to k other candidates and all correct ones decide whether a translation is among the best k.
    let max_golds = queries.iter().map(|query| query.golds.len()).max();
    let count = MAX_K + max_golds.expect("there is a query");
    let precision = |means: Option<&[f64]>| {
        let lists = nearest_neighbours(vectors.view(), target, count, means)?;
        let mut hits = [0_usize; 3];
        for (query, list) in std::iter::zip(queries, lists) {
            let is_gold = |index: &usize| query.golds.contains(index);
            let Some(best) = list.iter().find(|neighbour| is_gold(&neighbour.index)) else {
                continue;
            };
            let is_before =
                |other: &&super::Neighbour| other.score >= best.score && !is_gold(&other.index);
            let rank = 1 + list.iter().filter(is_before).count();
            for (hits, k) in hits.iter_mut().zip([1, 5, MAX_K]) {
                *hits += usize::from(rank <= k);
            }
        }
        let [p_at_1, p_at_5, p_at_10] = hits.map(|hits| 100.0 * hits as f64 / queries.len() as f64);
        Ok::<_, Error>(Precision { p_at_1, p_at_5, p_at_10 })
    };
    let means = mean_similarity(target, source, CSLS_NEIGHBOURS)?;
    Ok(TranslationScore { cosine: precision(None)?, csls: precision(Some(&means))? })
}
