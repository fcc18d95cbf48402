//! Refinement of a map by pairs that are found with the map itself.
use ndarray::{Array2, ArrayView2, s};
use serde::Serialize;

use super::{map_rows, mean_similarity, nearest_neighbours, procrustes};
use crate::Result;

/// Number of words per language from which pairs are found, starting with the first word.
const MAX_WORDS: usize = 20_000;
/// Number of neighbours of CSLS.
pub(super) const CSLS_NEIGHBOURS: usize = 10;

/// Measurements of the map of a round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct RefinementRound {
    /// Mean cosine of the source words and their nearest target words by CSLS.
    pub mean_cosine: f64,
    /// Number of pairs that are mutual nearest neighbours by CSLS.
    pub mutual_pairs: usize,
}

/// Fits a map repeatedly to the given pairs and to mutual nearest neighbours by CSLS under the
/// previous map, as in "Word Translation without Parallel Data" (arXiv 1710.04087), which does not
/// use the given pairs after the first round.
///
/// Refinement ends after `max_rounds`, or before the first round that does not increase the mean
/// cosine of the source words and their nearest target words (the paper's criterion of model
/// selection). Returns the last map, and the measurements of the given map and of each round,
/// including the rejected one.
///
/// # Shapes
/// - `source`, `target`: `[N, D]` and `[M, D]` float32, rows of length 1 or zero, not mapped
/// - `pairs`: pairs of a row of `source` and a row of `target`
/// - `map`: `[D, D]` float64, orthogonal
///
/// # Errors
/// The errors of [`procrustes`] and [`nearest_neighbours`].
pub(super) fn refine(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    pairs: &[(usize, usize)],
    mut map: Array2<f64>,
    max_rounds: usize,
) -> Result<(Array2<f64>, Vec<RefinementRound>)> {
    let (mut measured, mut mutual_pairs) = find_pairs(source, target, &map)?;
    let mut rounds = vec![measured];
    for _ in 0..max_rounds {
        mutual_pairs.extend(pairs);
        mutual_pairs.sort_unstable();
        mutual_pairs.dedup();
        let next_map = procrustes(source, target, &mutual_pairs)?;
        let (next, next_pairs) = find_pairs(source, target, &next_map)?;
        rounds.push(next);
        if next.mean_cosine <= measured.mean_cosine {
            break;
        }
        (map, measured, mutual_pairs) = (next_map, next, next_pairs);
    }
    Ok((map, rounds))
}

/// Finds the mutual nearest neighbours by CSLS.
fn find_pairs(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    map: &Array2<f64>,
) -> Result<(RefinementRound, Vec<(usize, usize)>)> {
    let source = source.slice(s![..source.nrows().min(MAX_WORDS), ..]);
    let target = target.slice(s![..target.nrows().min(MAX_WORDS), ..]);
    let mapped = map_rows(source, map.view())?;
    let target_means = mean_similarity(target, mapped.view(), CSLS_NEIGHBOURS)?;
    let source_means = mean_similarity(mapped.view(), target, CSLS_NEIGHBOURS)?;
    let forward = nearest_neighbours(mapped.view(), target, 1, Some(&target_means))?;
    let backward = nearest_neighbours(target, mapped.view(), 1, Some(&source_means))?;
    let mut cosine_sum = 0.0;
    let mut pairs = Vec::new();
    for (row, nearest) in forward.iter().enumerate() {
        // There is at least one target word, so each list has one neighbour.
        let nearest = nearest[0];
        cosine_sum += f64::midpoint(nearest.score, target_means[nearest.index]);
        if backward[nearest.index][0].index == row {
            pairs.push((row, nearest.index));
        }
    }
    let mean_cosine = cosine_sum / forward.len() as f64;
    Ok((RefinementRound { mean_cosine, mutual_pairs: pairs.len() }, pairs))
}
