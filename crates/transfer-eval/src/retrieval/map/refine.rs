//! More pairs from the vectors themselves.
use ndarray::{Array2, ArrayView2, s};
use serde::{Deserialize, Serialize};

use super::{mean_similarity, nearest, procrustes, turned};
use crate::{Error, Result};

/// How a map is refined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RefineConfig {
    /// Rounds at most.
    pub rounds: usize,
    /// Words of each side that are paired: the first ones, which are the most frequent.
    pub words: usize,
    /// Neighbours whose similarity CSLS takes the mean of.
    pub neighbours: usize,
}

impl Default for RefineConfig {
    fn default() -> Self {
        Self { rounds: 5, words: 20_000, neighbours: 10 }
    }
}

/// What a round measured of its map.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub struct Round {
    /// Mean cosine of a source word and its nearest target word by CSLS.
    pub agreement: f64,
    /// Source and target words that are nearest to each other.
    pub mutual: usize,
    /// Whether the map was better than all before.
    pub kept: bool,
}

/// A refined map.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refined {
    /// `[D, D]` float64, orthogonal.
    pub matrix: Array2<f64>,
    /// The map that was given, then that of each round, as they were measured.
    pub rounds: Vec<Round>,
}

/// Fits a map again on the given pairs and on words that are each other's nearest by CSLS under it,
/// as long as that brings source words closer to their nearest target words.
///
/// A round that does not raise the mean cosine of the source words and their nearest target words
/// ends it, and its map is dropped. The rule follows no paper. With no
/// such words, or no rounds, the map stays as it is.
///
/// # Shapes
/// - `source`, `target`: `[N, D]` and `[M, D]` float32, rows of length 1 (or zero), not yet mapped
/// - `pairs`: rows of source and target, kept in every round
/// - `matrix`: `[D, D]` float64, orthogonal
///
/// # Errors
/// As [`procrustes`] and [`nearest`]; [`Error::Config`] if `words` or `neighbours` is 0.
pub(super) fn refine(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    pairs: &[(usize, usize)],
    matrix: Array2<f64>,
    config: &RefineConfig,
) -> Result<Refined> {
    for (key, value) in [("words", config.words), ("neighbours", config.neighbours)] {
        if value == 0 {
            return Err(Error::config(key, 0, "at least 1"));
        }
    }
    let first = |rows: ArrayView2<'_, f32>| rows.nrows().min(config.words);
    let words = source.slice(s![..first(source), ..]);
    let others = target.slice(s![..first(target), ..]);
    let mut refined = Refined { matrix: matrix.clone(), rounds: Vec::new() };
    let (mut next, mut best) = (matrix, f64::NEG_INFINITY);
    for round in 0..=config.rounds {
        let matched = matched(words, others, &next, config.neighbours)?;
        let kept = matched.agreement > best;
        let (agreement, mutual) = (matched.agreement, matched.mutual.len());
        refined.rounds.push(Round { agreement, mutual, kept });
        if !kept {
            break;
        }
        (refined.matrix, best) = (next.clone(), agreement);
        if round == config.rounds || mutual == 0 {
            break;
        }
        let mut all: Vec<(usize, usize)> = pairs.iter().copied().chain(matched.mutual).collect();
        all.sort_unstable();
        all.dedup();
        next = procrustes(source, target, &all)?;
    }
    Ok(refined)
}

struct Matched {
    agreement: f64,
    mutual: Vec<(usize, usize)>,
}

/// Words that are each other's nearest by CSLS.
fn matched(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    matrix: &Array2<f64>,
    neighbours: usize,
) -> Result<Matched> {
    let mapped = turned(source, matrix.view())?;
    let mapped = mapped.view();
    let of_target = mean_similarity(target, mapped, neighbours)?;
    let of_source = mean_similarity(mapped, target, neighbours)?;
    let forward = nearest(mapped, target, 1, Some(&of_target))?;
    let backward = nearest(target, mapped, 1, Some(&of_source))?;
    let (mut mutual, mut sum) = (Vec::new(), 0.0);
    for (row, best) in forward.iter().enumerate() {
        let Some(best) = best.first() else { continue };
        let mean = of_target.get(best.index).copied().unwrap_or_default();
        sum += (best.score + mean) / 2.0;
        let back = backward.get(best.index).and_then(|back| back.first());
        if back.is_some_and(|back| back.index == row) {
            mutual.push((row, best.index));
        }
    }
    Ok(Matched { agreement: sum / forward.len().max(1) as f64, mutual })
}
