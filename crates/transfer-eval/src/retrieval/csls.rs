//! Ranks by CSLS, and mutual nearest neighbours.
use ndarray::{Array2, ArrayView2, s};

use super::map::{mean_similarity, nearest_neighbours};
use super::{RankConfig, rank_candidates};
use crate::Result;

/// Returns the rank of each query's gold candidate by CSLS, from 1, as [`rank_candidates`] does for
/// cosines.
///
/// The score of a query x and a candidate y is 2 cos(x, y) − r(y), where r(y) is the mean cosine of y
/// and its `neighbours` nearest queries; the term r(x) is equal for all candidates of a query. A
/// candidate that is a zero vector is ranked after all others, and the gold candidate of a query that
/// is a zero vector has the last rank, because a missing vector is similar to nothing.
///
/// ```
/// use ndarray::array;
/// use transfer_eval::retrieval::rank_by_csls;
///
/// // The second candidate is the nearest of the first two queries (a hub).
/// let queries = array![[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]];
/// let candidates = array![[0.8, -0.6], [0.96, 0.28], [0.0, 1.0]];
/// let ranks = rank_by_csls(queries.view(), candidates.view(), &[0, 1, 2], 3)?;
/// assert_eq!(ranks, [1, 1, 1]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Shapes
/// - `queries`: `[Q, D]` float32, rows of length 1 or zero
/// - `candidates`: `[N, D]` float32, rows of length 1 or zero
/// - `gold`: Q indices below N
///
/// # Errors
/// The errors of [`rank_candidates`] and [`nearest_neighbours`].
pub fn rank_by_csls(
    queries: ArrayView2<'_, f32>,
    candidates: ArrayView2<'_, f32>,
    gold: &[usize],
    neighbours: usize,
) -> Result<Vec<usize>> {
    let means = mean_similarity(candidates, queries, neighbours)?;
    // CSLS is a dot product with one more dimension.
    let width = queries.ncols();
    let mut scaled = Array2::zeros((candidates.nrows(), width + 1));
    scaled.slice_mut(s![.., ..width]).assign(&candidates);
    scaled.mapv_inplace(|value: f32| 2.0 * value);
    for (index, mean) in means.into_iter().enumerate() {
        let is_zero = candidates.row(index).iter().all(|value| *value == 0.0);
        scaled[[index, width]] = if is_zero { BELOW_ALL_SCORES } else { -mean as f32 };
    }
    let mut extended = Array2::zeros((queries.nrows(), width + 1));
    extended.slice_mut(s![.., ..width]).assign(&queries);
    for (index, query) in queries.outer_iter().enumerate() {
        let is_zero = query.iter().all(|value| *value == 0.0);
        extended[[index, width]] = if is_zero { 0.0 } else { 1.0 };
    }
    rank_candidates(extended.view(), scaled.view(), gold, &RankConfig::default())
}

/// A score below 2 cos − r, which is at least −3.
const BELOW_ALL_SCORES: f32 = -4.0;

/// Returns the pairs of rows that are nearest neighbours of each other by cosine, in order of the
/// first row. Zero vectors have no neighbour.
///
/// ```
/// use ndarray::array;
/// use transfer_eval::retrieval::mutual_nearest;
///
/// let first = array![[1.0, 0.0], [0.8, 0.6], [0.0, 0.0]];
/// let second = array![[0.0, 1.0], [0.96, 0.28]];
/// // The third row of `first` is zero; the second row is nearest to row 1, whose nearest is row 0.
/// assert_eq!(mutual_nearest(first.view(), second.view())?, [(0, 1)]);
/// # Ok::<(), transfer_eval::Error>(())
/// ```
///
/// # Errors
/// The errors of [`nearest_neighbours`].
pub fn mutual_nearest(
    first: ArrayView2<'_, f32>,
    second: ArrayView2<'_, f32>,
) -> Result<Vec<(usize, usize)>> {
    let forward = nearest_neighbours(first.reborrow(), second.reborrow(), 1, None)?;
    let backward = nearest_neighbours(second.reborrow(), first.reborrow(), 1, None)?;
    let has_vector = |row: usize| first.row(row).iter().any(|value| *value != 0.0);
    let mut pairs = Vec::new();
    for (row, nearest) in forward.iter().enumerate().filter(|(row, _)| has_vector(*row)) {
        let Some(nearest) = nearest.first() else { continue };
        let is_mutual = backward[nearest.index].first().is_some_and(|back| back.index == row);
        let is_zero = second.row(nearest.index).iter().all(|value| *value == 0.0);
        if is_mutual && !is_zero {
            pairs.push((row, nearest.index));
        }
    }
    Ok(pairs)
}
