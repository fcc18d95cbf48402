//! Exact ranks without the full matrix of scores.
use ndarray::{Array1, ArrayView1, ArrayView2, Axis, s};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, Ties};

/// Queries multiplied at once.
const QUERY_BLOCK: usize = 64;
/// Candidates multiplied at once.
const CANDIDATE_BLOCK: usize = 4096;

/// What scores a candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Similarity {
    /// `q · z`, as in XLM-K's Eq. 5.
    #[default]
    Dot,
    /// `q · z / (‖q‖ ‖z‖)`; 0 where a vector is 0.
    Cosine,
}

/// How candidates are ranked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RankConfig {
    /// What scores a candidate.
    pub similarity: Similarity,
    /// The rank of the gold candidate among candidates of the same score.
    pub ties: Ties,
}

/// Ranks candidates that come in blocks, so that neither they nor the scores need to be in memory
/// at once.
///
/// **Exact:** the rank is that of scores summed in float64, in order of the dimensions, whatever
/// blocks, threads or processor. A float32 product decides where it differs from the gold score by
/// more than its rounding can; the rest is summed again.
#[derive(Debug)]
pub struct Ranker<'a> {
    queries: ArrayView2<'a, f32>,
    config: RankConfig,
    gold: Vec<usize>,
    /// ‖q‖ and the gold candidate's score.
    norms: Vec<f64>,
    scores: Vec<f64>,
    ahead: Vec<usize>,
    seen: usize,
}

impl<'a> Ranker<'a> {
    /// Starts with the queries and their gold candidates.
    ///
    /// # Shapes
    /// - `queries`: `[Q, D]` float32
    /// - `gold_vectors`: `[Q, D]` float32, row i the vector of query i's gold candidate
    /// - `gold`: Q indices of the gold candidates, counted over all blocks
    ///
    /// # Errors
    /// [`Error::Array`] if shapes differ or a value is not finite; [`Error::Nothing`] without a
    /// query.
    pub fn new(
        queries: ArrayView2<'a, f32>,
        gold_vectors: ArrayView2<'_, f32>,
        gold: &[usize],
        config: &RankConfig,
    ) -> Result<Self> {
        if queries.nrows() == 0 {
            return Err(Error::Nothing { what: "query" });
        }
        if queries.dim() != gold_vectors.dim() || queries.nrows() != gold.len() {
            let (got, golds) = (gold_vectors.dim(), gold.len());
            let message =
                format!("{got:?} and {golds} indices for queries of shape {:?}", queries.dim());
            return Err(Error::array("gold", message));
        }
        let norms = norms("queries", queries, 0)?;
        let gold_norms = self::norms("gold_vectors", gold_vectors, 0)?;
        let scores = queries
            .outer_iter()
            .zip(gold_vectors.outer_iter())
            .zip(&gold_norms)
            .map(|((query, gold), &norm)| score(config.similarity, query, gold, norm))
            .collect();
        let (gold, config) = (gold.to_vec(), config.clone());
        let ahead = vec![0; gold.len()];
        Ok(Self { queries, config, gold, norms, scores, ahead, seen: 0 })
    }

    /// Takes the next candidates, `[n, D]` float32.
    ///
    /// # Errors
    /// [`Error::Array`] if D differs or a value is not finite.
    pub fn push(&mut self, block: ArrayView2<'_, f32>) -> Result<()> {
        if block.ncols() != self.queries.ncols() {
            let message =
                format!("{} dimensions, but queries have {}", block.ncols(), self.queries.ncols());
            return Err(Error::array("candidates", message));
        }
        let norms = norms("candidates", block, self.seen)?;
        let (queries, config, seen) = (self.queries, &self.config, self.seen);
        let rows: Vec<usize> = (0..queries.nrows()).step_by(QUERY_BLOCK).collect();
        let counts: Vec<Vec<usize>> = rows
            .par_iter()
            .map(|&from| {
                let to = (from + QUERY_BLOCK).min(queries.nrows());
                let query_block = queries.slice(s![from..to, ..]);
                let mut counts = vec![0; to - from];
                for (start, part) in block.axis_chunks_iter(Axis(0), CANDIDATE_BLOCK).enumerate() {
                    let start = start * CANDIDATE_BLOCK;
                    let products = query_block.dot(&part.t());
                    for (k, count) in counts.iter_mut().enumerate() {
                        let one = Row {
                            config,
                            query: query_block.row(k),
                            norm: self.norms.get(from + k).copied().unwrap_or_default(),
                            score: self.scores.get(from + k).copied().unwrap_or_default(),
                            gold: self
                                .gold
                                .get(from + k)
                                .and_then(|gold| gold.checked_sub(seen + start)),
                        };
                        let norms = norms.get(start..).unwrap_or_default();
                        *count += one.ahead(products.row(k), part, norms);
                    }
                }
                counts
            })
            .collect();
        for (ahead, count) in self.ahead.iter_mut().zip(counts.into_iter().flatten()) {
            *ahead += count;
        }
        self.seen += block.nrows();
        Ok(())
    }

    /// The rank of each query's gold candidate, from 1.
    ///
    /// # Errors
    /// [`Error::Mismatch`] naming the first query whose gold candidate has not come.
    pub fn finish(self) -> Result<Vec<usize>> {
        if let Some((k, gold)) = self.gold.iter().enumerate().find(|&(_, &gold)| gold >= self.seen)
        {
            let message = format!("gold candidate {gold}, but there are {}", self.seen);
            return Err(Error::Mismatch { what: "query", index: k + 1, line: None, message });
        }
        Ok(self.ahead.into_iter().map(|ahead| ahead + 1).collect())
    }
}

/// One query against one block.
struct Row<'a> {
    config: &'a RankConfig,
    query: ArrayView1<'a, f32>,
    norm: f64,
    score: f64,
    /// The gold candidate's index, counted from this block's start; `None` if it was in an earlier
    /// block.
    gold: Option<usize>,
}

impl Row<'_> {
    /// How many candidates of the block rank before the gold one.
    fn ahead(
        &self,
        products: ArrayView1<'_, f32>,
        block: ArrayView2<'_, f32>,
        norms: &[f64],
    ) -> usize {
        let slack = rounding(block.ncols());
        let mut count = 0;
        for (k, ((&product, &norm), vector)) in
            products.iter().zip(norms).zip(block.outer_iter()).enumerate()
        {
            if self.gold == Some(k) {
                continue;
            }
            let scale =
                if self.config.similarity == Similarity::Cosine && norm > 0.0 { norm } else { 1.0 };
            let bound = (slack * self.norm * norm + f64::from(f32::MIN_POSITIVE)) / scale;
            let distance = f64::from(product) / scale - self.score;
            let decided = product.is_finite() && distance.abs() > bound;
            let distance = if decided {
                distance
            } else {
                score(self.config.similarity, self.query, vector, norm) - self.score
            };
            let earlier = self.gold.is_some_and(|gold| k < gold);
            let tie = self.config.ties == Ties::Pessimistic || earlier;
            count += usize::from(distance > 0.0 || (distance == 0.0 && tie));
        }
        count
    }
}

/// How far a float32 sum of `terms` products can lie from the true one, relative to the norms'
/// product, in any order of summing.
pub(super) fn rounding(terms: usize) -> f64 {
    let unit = f64::from(f32::EPSILON) / 2.0;
    1.01 * (terms + 2) as f64 * unit
}

/// The score but for the factor 1/‖q‖, which all candidates of a query share.
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

fn norms(name: &'static str, rows: ArrayView2<'_, f32>, first: usize) -> Result<Vec<f64>> {
    let squares: Array1<f64> = rows.map_axis(Axis(1), |row| {
        row.iter().map(|&value| f64::from(value) * f64::from(value)).sum::<f64>()
    });
    match squares.iter().position(|square| !square.is_finite()) {
        Some(row) => {
            Err(Error::array(name, format!("row {} has a value that is not finite", first + row)))
        }
        None => Ok(squares.iter().map(|square| square.sqrt()).collect()),
    }
}

/// The rank of each query's gold candidate, from 1, for candidates that are all in memory. See
/// [`Ranker`].
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
/// [`Error::Array`] if shapes do not fit or a value is not finite; [`Error::Mismatch`] naming the
/// query whose gold is not below N; [`Error::Nothing`] without a query.
pub fn rank_candidates(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    gold: &[usize],
    config: &RankConfig,
) -> Result<Vec<usize>> {
    let count = candidates.nrows();
    if let Some((k, gold)) = gold.iter().enumerate().find(|&(_, &gold)| gold >= count) {
        let message = format!("gold candidate {gold}, but there are {count}");
        return Err(Error::Mismatch { what: "query", index: k + 1, line: None, message });
    }
    let vectors = candidates.select(Axis(0), gold);
    let mut ranker = Ranker::new(queries, vectors.view(), gold, config)?;
    ranker.push(candidates)?;
    ranker.finish()
}
