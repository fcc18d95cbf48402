//! Orthogonal Procrustes: the orthogonal map that minimises the distances between the vectors of
//! pairs.
use ndarray::{Array2, ArrayView2, Axis, linalg::general_mat_mul};
use polar::orthogonal_factor;
use rayon::prelude::*;

use crate::{Error, Result};

/// Rows per parallel block.
const BLOCK: usize = 1024;

/// The orthogonal W, `[D, D]`, that minimises the sum of ‖x W − y‖² over the pairs: with the
/// singular value decomposition XᵀY = U S Vᵀ, W is U Vᵀ. X and Y contain the source and target
/// vectors of the pairs. All computations are in float64.
///
/// With fewer pairs than dimensions, W is not unique.
///
/// # Shapes
/// - `source`: `[N, D]` float32
/// - `target`: `[M, D]` float32
/// - `pairs`: pairs of a row of `source` and a row of `target`
///
/// # Errors
/// [`Error::Array`] if a number of dimensions is 0, if the two numbers of dimensions differ, if a
/// row does not exist, or if a value is not finite; [`Error::Nothing`] without a pair.
pub(super) fn procrustes(
    source: ArrayView2<'_, f32>,
    target: ArrayView2<'_, f32>,
    pairs: &[(usize, usize)],
) -> Result<Array2<f64>> {
    let width = source.ncols();
    if width == 0 {
        return Err(Error::array("source", "0 dimensions, expected at least 1".to_owned()));
    }
    if target.ncols() != width {
        let message = format!("{} dimensions, but the source has {width}", target.ncols());
        return Err(Error::array("target", message));
    }
    if pairs.is_empty() {
        return Err(Error::Nothing { what: "pair of words that both have a vector" });
    }
    let missing = pairs.iter().find(|(s, t)| *s >= source.nrows() || *t >= target.nrows());
    if let Some((s, t)) = missing {
        let message =
            format!("rows {s} and {t} of {} and {} vectors", source.nrows(), target.nrows());
        return Err(Error::array("pairs", message));
    }
    let mut product = Array2::<f64>::zeros((width, width));
    for block in pairs.chunks(BLOCK) {
        let rows = |vectors: ArrayView2<'_, f32>, side: fn(&(usize, usize)) -> usize| {
            let rows: Vec<usize> = block.iter().map(side).collect();
            vectors.select(Axis(0), &rows).mapv(f64::from)
        };
        let (x, y) = (rows(source, |pair| pair.0), rows(target, |pair| pair.1));
        general_mat_mul(1.0, &x.t(), &y, 1.0, &mut product);
    }
    orthogonal_factor(product.view()).map_err(|error| match error {
        polar::Error::NotFinite => Error::array("pairs", "a vector has a value that is not finite"),
        error => Error::array("pairs", error.to_string()),
    })
}

/// Multiplies each row by `map` in float64, and rounds the result to float32.
///
/// # Shapes
/// - `vectors`: `[N, D]` float32
/// - `map`: `[D, E]` float64
/// - result: `[N, E]` float32
///
/// # Errors
/// [`Error::Array`] if D differs.
pub(super) fn map_rows(
    vectors: ArrayView2<'_, f32>,
    map: ArrayView2<'_, f64>,
) -> Result<Array2<f32>> {
    if vectors.ncols() != map.nrows() {
        let message = format!("{} dimensions; the map expects {}", vectors.ncols(), map.nrows());
        return Err(Error::array("vectors", message));
    }
    let mut result = Array2::zeros((vectors.nrows(), map.ncols()));
    let blocks: Vec<_> = result
        .axis_chunks_iter_mut(Axis(0), BLOCK)
        .zip(vectors.axis_chunks_iter(Axis(0), BLOCK))
        .collect();
    blocks.into_par_iter().for_each(|(mut out, block)| {
        let product = block.mapv(f64::from).dot(&map);
        out.zip_mut_with(&product, |slot, value| *slot = *value as f32);
    });
    Ok(result)
}
