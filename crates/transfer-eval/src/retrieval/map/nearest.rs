//! Exact nearest neighbours in a vocabulary, without storing the complete similarity matrix.
use std::cmp::Ordering;

use ndarray::{Array2, ArrayView1, ArrayView2, Axis, linalg::general_mat_mul, s};
use rayon::prelude::*;

use crate::retrieval::rank::max_rounding_error;
use crate::{Error, Result};

/// Queries per matrix multiplication and thread.
const QUERY_BLOCK: usize = 512;
/// Candidates per matrix multiplication. The similarities between a block of queries and a block of
/// candidates use 2 MiB.
const CANDIDATE_BLOCK: usize = 1024;
/// Number of candidates per group. A group is skipped if its largest float32 score is so low that
/// none of its candidates can be among the best.
const GROUP_SIZE: usize = 32;
/// Maximum deviation of a vector's length from 1.
const LENGTH_TOLERANCE: f64 = 1e-3;

/// A candidate and its score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Neighbour {
    /// The candidate's row.
    pub index: usize,
    /// The cosine or, with CSLS, twice the cosine minus the candidate's mean similarity.
    pub score: f64,
}

/// Returns the `count` nearest candidates of each query, best first; ties are sorted by row.
/// Vectors must have length 1 or be zero, so that dot products are cosines.
///
/// With `mean_similarities`, which contains r(y) for each candidate y, the score of a query x and y
/// is 2 cos(x, y) − r(y). This is CSLS ("Word Translation without Parallel Data", arXiv 1710.04087)
/// without the term r(x), which is equal for all candidates of a query. [`mean_similarity`]
/// computes r.
///
/// **Exact:** scores are float64 sums in order of the dimensions, and the result does not depend on
/// blocks, threads or processor. A float32 matrix multiplication excludes candidates that cannot be
/// among the best; the scores of the remaining candidates are computed again in float64.
///
/// # Shapes
/// - `queries`: `[Q, D]` float32
/// - `candidates`: `[N, D]` float32
/// - result: Q lists of `count` neighbours, or of N if N is smaller
///
/// # Errors
/// [`Error::Array`] if shapes do not match, the length of a row is neither 1 nor 0, or a value of
/// `mean_similarities` is not finite.
///
/// ```
/// use ndarray::array;
/// use transfer_eval::retrieval::map::nearest_neighbours;
///
/// let queries = array![[1.0, 0.0]];
/// let candidates = array![[0.0, 1.0], [0.6, 0.8], [0.8, 0.6]];
/// let found = nearest_neighbours(queries.view(), candidates.view(), 2, None)?;
/// assert_eq!((found[0][0].index, found[0][1].index), (2, 1));
/// // The third candidate is near to all vectors (high mean similarity).
/// let found = nearest_neighbours(queries.view(), candidates.view(), 1, Some(&[0.0, 0.1, 0.9]))?;
/// assert_eq!(found[0][0].index, 1);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
pub fn nearest_neighbours(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    count: usize,
    mean_similarities: Option<&[f64]>,
) -> Result<Vec<Vec<Neighbour>>> {
    let search = Search::new(queries.reborrow(), candidates.reborrow(), mean_similarities)?;
    Ok(search.map_best(count, |best| best))
}

/// Returns the mean cosine of each query and its `count` nearest candidates. This is r of CSLS,
/// which uses a `count` of 10. The arguments have the shapes documented for [`nearest_neighbours`]. The mean
/// is 0 if there are no candidates.
///
/// # Errors
/// As [`nearest_neighbours`].
pub fn mean_similarity(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    count: usize,
) -> Result<Vec<f64>> {
    let mean = |best: Vec<Neighbour>| {
        best.iter().map(|neighbour| neighbour.score).sum::<f64>() / best.len().max(1) as f64
    };
    let search = Search::new(queries.reborrow(), candidates.reborrow(), None)?;
    Ok(search.map_best(count, mean))
}

/// Validated inputs of a search.
struct Search<'a> {
    queries: ArrayView2<'a, f32>,
    candidates: ArrayView2<'a, f32>,
    mean_similarities: Option<&'a [f64]>,
    /// `mean_similarities` in float32.
    f32_means: Vec<f32>,
    /// Maximum difference between a float32 score and the exact score.
    max_error: f64,
}

impl<'a> Search<'a> {
    fn new(
        queries: ArrayView2<'a, f32>,
        candidates: ArrayView2<'a, f32>,
        mean_similarities: Option<&'a [f64]>,
    ) -> Result<Self> {
        let width = queries.ncols();
        if candidates.ncols() != width {
            let message = format!("{} dimensions; queries have {width}", candidates.ncols());
            return Err(Error::array("candidates", message));
        }
        check_lengths("queries", queries)?;
        check_lengths("candidates", candidates)?;
        if let Some(means) = mean_similarities
            && (means.len() != candidates.nrows() || means.iter().any(|mean| !mean.is_finite()))
        {
            let message = format!("{} values for {} candidates", means.len(), candidates.nrows());
            return Err(Error::array("mean_similarities", message + "; expected finite values"));
        }
        let length = 1.0 + LENGTH_TOLERANCE;
        let max_underflow = width as f64 * f64::from(f32::MIN_POSITIVE);
        let mut max_error = 2.0 * (max_rounding_error(width) * length * length + max_underflow);
        let means = mean_similarities.unwrap_or(&[]);
        let max_mean = means.iter().fold(0.0_f64, |max, mean| max.max(mean.abs()));
        if mean_similarities.is_some() {
            // With CSLS, the cosine and the mean similarity are rounded to float32.
            max_error += 2.0 * f64::from(f32::EPSILON) * (2.0 * length * length + max_mean);
        }
        let f32_means = means.iter().map(|&mean| mean as f32).collect();
        Ok(Self { queries, candidates, mean_similarities, f32_means, max_error })
    }

    /// Applies `convert` to the best `count` candidates of each query.
    fn map_best<T: Send>(
        &self,
        count: usize,
        convert: impl Fn(Vec<Neighbour>) -> T + Sync,
    ) -> Vec<T> {
        let starts: Vec<usize> = (0..self.queries.nrows()).step_by(QUERY_BLOCK).collect();
        let blocks: Vec<Vec<T>> = starts
            .into_par_iter()
            .map(|start| {
                let lists = self.search_block(start, count);
                lists.into_iter().map(|list| convert(list.best)).collect()
            })
            .collect();
        blocks.into_iter().flatten().collect()
    }

    fn search_block(&self, start: usize, count: usize) -> Vec<TopList> {
        let end = (start + QUERY_BLOCK).min(self.queries.nrows());
        let queries = self.queries.slice(s![start..end, ..]);
        let mut lists: Vec<TopList> = (start..end).map(|_| TopList::new(count)).collect();
        let mut products = Array2::<f32>::zeros((queries.nrows(), CANDIDATE_BLOCK));
        let mut first = 0;
        for block in self.candidates.axis_chunks_iter(Axis(0), CANDIDATE_BLOCK) {
            let mut products = products.slice_mut(s![.., ..block.nrows()]);
            general_mat_mul(1.0, &queries, &block.t(), 0.0, &mut products);
            let means =
                self.mean_similarities.map(|means| (&means[first..], &self.f32_means[first..]));
            let rows = products.outer_iter().zip(queries.outer_iter()).zip(&mut lists);
            for ((products, query), list) in rows {
                let scan = BlockScan { query, block, means, first, max_error: self.max_error };
                let products = products.to_slice().expect("the rows of the block are contiguous");
                scan.add_candidates(products, list);
            }
            first += block.nrows();
        }
        lists
    }
}

/// One query and one block of candidates.
struct BlockScan<'a> {
    query: ArrayView1<'a, f32>,
    block: ArrayView2<'a, f32>,
    /// The candidates' mean similarities in float64 and float32.
    means: Option<(&'a [f64], &'a [f32])>,
    first: usize,
    max_error: f64,
}

impl BlockScan<'_> {
    /// Adds the candidates that may be among the best. A group is skipped if it has no such
    /// candidate.
    fn add_candidates(&self, products: &[f32], list: &mut TopList) {
        for (group, products) in products.chunks(GROUP_SIZE).enumerate() {
            let start = group * GROUP_SIZE;
            let limit = list.limit - self.max_error;
            match self.means.map(|(exact, rounded)| (&exact[start..], &rounded[start..])) {
                None => {
                    if f64::from(max_score(products.iter().copied())) < limit {
                        continue;
                    }
                    for (at, &product) in products.iter().enumerate() {
                        if f64::from(product) >= list.limit - self.max_error {
                            self.rescore(start + at, None, list);
                        }
                    }
                }
                Some((exact, rounded)) => {
                    let score = |(product, mean): (&f32, &f32)| 2.0 * product - mean;
                    if f64::from(max_score(products.iter().zip(rounded).map(score))) < limit {
                        continue;
                    }
                    for (at, (pair, &mean)) in products.iter().zip(rounded).zip(exact).enumerate() {
                        if f64::from(score(pair)) >= list.limit - self.max_error {
                            self.rescore(start + at, Some(mean), list);
                        }
                    }
                }
            }
        }
    }

    /// Computes the score again in float64 and adds the candidate.
    fn rescore(&self, column: usize, mean: Option<f64>, list: &mut TopList) {
        let cosine = dot(self.query, self.block.row(column));
        let score = mean.map_or(cosine, |mean| 2.0 * cosine - mean);
        list.insert(Neighbour { index: self.first + column, score });
    }
}

/// The best candidates so far, best first.
struct TopList {
    count: usize,
    best: Vec<Neighbour>,
    /// Minimum score of a candidate that enters the list.
    limit: f64,
}

impl TopList {
    fn new(count: usize) -> Self {
        let limit = if count == 0 { f64::INFINITY } else { f64::NEG_INFINITY };
        Self { count, best: Vec::new(), limit }
    }

    fn insert(&mut self, candidate: Neighbour) {
        let comes_before = |other: &&Neighbour| {
            let order = other.score.total_cmp(&candidate.score).reverse();
            order.then(other.index.cmp(&candidate.index)) == Ordering::Less
        };
        let rank = self.best.iter().take_while(comes_before).count();
        if rank >= self.count {
            return;
        }
        self.best.insert(rank, candidate);
        self.best.truncate(self.count);
        if self.best.len() == self.count
            && let Some(last) = self.best.last()
        {
            self.limit = last.score;
        }
    }
}

/// The dot product in float64, summed in order of the dimensions.
fn dot(a: ArrayView1<'_, f32>, b: ArrayView1<'_, f32>) -> f64 {
    let product = |(&a, &b): (&f32, &f32)| f64::from(a) * f64::from(b);
    match (a.to_slice(), b.to_slice()) {
        (Some(a), Some(b)) => a.iter().zip(b).map(product).sum(),
        _ => a.iter().zip(b.iter()).map(product).sum(),
    }
}

/// Returns the largest score.
fn max_score(scores: impl Iterator<Item = f32>) -> f32 {
    scores.fold(f32::NEG_INFINITY, |max, score| if score > max { score } else { max })
}

/// Checks that rows have length 1 or are zero.
fn check_lengths(name: &'static str, rows: ArrayView2<'_, f32>) -> Result<()> {
    let invalid_row = rows.outer_iter().position(|row| {
        let square: f64 = row.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        let is_valid = square == 0.0 || (square.sqrt() - 1.0).abs() <= LENGTH_TOLERANCE;
        !is_valid
    });
    match invalid_row {
        Some(row) => Err(Error::array(
            name,
            format!("the length of row {row} is not 1; normalise the vectors first"),
        )),
        None => Ok(()),
    }
}
