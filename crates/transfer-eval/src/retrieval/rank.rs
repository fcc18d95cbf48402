//! Exact ranks without storing the complete score matrix.
use ndarray::{Array1, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Queries per matrix multiplication.
const QUERY_BLOCK: usize = 64;
/// Candidates per matrix multiplication.
const CANDIDATE_BLOCK: usize = 4096;

/// The similarity of a query and a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `q · z`, as in XLM-K's Eq. 5.
    #[default]
    Dot,
    /// `q · z / (‖q‖ ‖z‖)`; 0 for a zero vector.
    Cosine,
}

/// Options of [`rank_candidates`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankConfig {
    /// The similarity by which candidates are ranked.
    pub similarity: Similarity,
}

/// Returns the rank of each query's gold candidate, from 1. The gold candidate is ranked after all
/// other candidates with its score, so that constant scores result in rank N, not 1.
///
/// **Exact:** ranks are computed as if all scores were float64 sums in order of the dimensions.
/// They do not depend on blocks, threads or the processor. A float32 dot product suffices if it
/// differs from the gold score by more than the rounding error; otherwise, the score is computed
/// again in float64.
///
/// ```
/// use ndarray::array;
/// use transfer_eval::retrieval::{RankConfig, rank_candidates};
///
/// let queries = array![[1.0, 0.0], [0.0, 1.0]];
/// let candidates = array![[0.9, 0.1], [0.2, 0.8], [1.0, 1.0]];
/// let config = RankConfig::default();
/// let ranks = rank_candidates(queries.view(), candidates.view(), &[0, 1], &config)?;
/// assert_eq!(ranks, [2, 2]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Shapes
/// - `queries`: `[Q, D]` float32
/// - `candidates`: `[N, D]` float32
/// - `gold`: Q indices below N
///
/// # Errors
/// [`Error::Array`] if shapes do not match or a value is not finite; [`Error::Mismatch`] naming the
/// query whose gold index is N or more; [`Error::Nothing`] without a query.
pub fn rank_candidates(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    gold: &[usize],
    config: &RankConfig,
) -> Result<Vec<usize>> {
    let count = candidates.nrows();
    if let Some((k, gold)) = gold.iter().enumerate().find(|&(_, &gold)| gold >= count) {
        let message = format!("gold candidate {gold}, but there are {count} candidates");
        return Err(Error::mismatch("query", k, None, message));
    }
    if queries.nrows() == 0 {
        return Err(Error::Nothing { what: "query" });
    }
    let (gold_count, width) = (gold.len(), candidates.ncols());
    if queries.dim() != (gold_count, width) {
        let shape = queries.dim();
        let message = format!(
            "{gold_count} indices and candidates of {width} dimensions for queries of shape {shape:?}"
        );
        return Err(Error::array("gold", message));
    }
    let query_norms = norms("queries", queries)?;
    let norms = norms("candidates", candidates)?;
    let rows: Vec<ScoredQuery<'_>> = queries
        .outer_iter()
        .zip(query_norms)
        .zip(gold)
        .map(|((query, norm), &gold)| {
            let score = score(config.similarity, query, candidates.row(gold), norms[gold]);
            ScoredQuery { similarity: config.similarity, query, norm, score, gold }
        })
        .collect();
    let blocks = queries.axis_chunks_iter(Axis(0), QUERY_BLOCK).zip(rows.chunks(QUERY_BLOCK));
    let ranks: Vec<Vec<usize>> = blocks
        .collect::<Vec<_>>()
        .into_par_iter()
        .map(|(queries, rows)| {
            let mut ranks = vec![1; rows.len()];
            for (k, block) in candidates.axis_chunks_iter(Axis(0), CANDIDATE_BLOCK).enumerate() {
                let start = k * CANDIDATE_BLOCK;
                let products = queries.dot(&block.t());
                let norms = &norms[start..];
                for ((rank, row), products) in ranks.iter_mut().zip(rows).zip(products.outer_iter())
                {
                    *rank += row.count_better(products, block, norms, start);
                }
            }
            ranks
        })
        .collect();
    Ok(ranks.into_iter().flatten().collect())
}

/// A query and the score of its gold candidate.
struct ScoredQuery<'a> {
    similarity: Similarity,
    query: ArrayView1<'a, f32>,
    norm: f64,
    score: f64,
    gold: usize,
}

impl ScoredQuery<'_> {
    /// Counts the candidates of the block (which begins at `start`) that rank before the gold
    /// candidate.
    fn count_better(
        &self,
        products: ArrayView1<'_, f32>,
        block: ArrayView2<'_, f32>,
        norms: &[f64],
        start: usize,
    ) -> usize {
        let slack = max_rounding_error(block.ncols());
        let mut count = 0;
        for (k, ((&product, &norm), vector)) in
            products.iter().zip(norms).zip(block.outer_iter()).enumerate()
        {
            if self.gold == start + k {
                continue;
            }
            let divisor =
                if self.similarity == Similarity::Cosine && norm > 0.0 { norm } else { 1.0 };
            let bound = (slack * self.norm * norm + f64::from(f32::MIN_POSITIVE)) / divisor;
            let distance = f64::from(product) / divisor - self.score;
            let float32_suffices = product.is_finite() && distance.abs() > bound;
            let distance = if float32_suffices {
                distance
            } else {
                score(self.similarity, self.query, vector, norm) - self.score
            };
            count += usize::from(distance >= 0.0);
        }
        count
    }
}

/// Returns the maximum error of a float32 dot product of `terms` terms, summed in any order,
/// relative to the product of the norms.
pub(super) fn max_rounding_error(terms: usize) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    1.01 * (terms + 2) as f64 * unit
}

/// The score without the factor 1/‖q‖, which is equal for all candidates of a query.
fn score(
    similarity: Similarity,
    query: ArrayView1<'_, f32>,
    vector: ArrayView1<'_, f32>,
    norm: f64,
) -> f64 {
    let dot: f64 = query.iter().zip(vector).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
    match similarity {
        Similarity::Cosine if norm > 0.0 => dot / norm,
        _ => dot,
    }
}

fn norms(name: &'static str, rows: ArrayView2<'_, f32>) -> Result<Vec<f64>> {
    let squares: Array1<f64> = rows.map_axis(Axis(1), |row| {
        row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
    });
    match squares.iter().position(|square| !square.is_finite()) {
        Some(row) => Err(Error::array(name, format!("row {row} has a value that is not finite"))),
        None => Ok(squares.iter().map(|square| square.sqrt()).collect()),
    }
}
