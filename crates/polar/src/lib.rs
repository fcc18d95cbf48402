#![doc = include_str!("../README.md")]

use nalgebra::{DMatrix, linalg::SVD};
use ndarray::{Array2, ArrayView2};

/// Maximum number of iterations per dimension.
const STEPS_PER_DIMENSION: usize = 100;

/// A matrix without an orthogonal factor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The numbers of rows and columns differ, or are 0.
    #[error("{rows} rows and {columns} columns, expected a square matrix")]
    Shape {
        /// Number of rows.
        rows: usize,
        /// Number of columns.
        columns: usize,
    },
    /// A value is infinite or NaN.
    #[error("a value is not finite")]
    NotFinite,
    /// The iteration for the singular values does not end.
    #[error("the singular values do not converge")]
    NotConverged,
}

/// Returns U Vᵀ for a square matrix U S Vᵀ. If singular values are 0, the result is orthogonal, but
/// not unique.
///
/// # Shapes
/// - `matrix`: `[D, D]` float64
/// - result: `[D, D]` float64
///
/// # Errors
/// See [`Error`].
pub fn orthogonal_factor(matrix: ArrayView2<'_, f64>) -> Result<Array2<f64>, Error> {
    let (rows, columns) = matrix.dim();
    if rows != columns || rows == 0 {
        return Err(Error::Shape { rows, columns });
    }
    if matrix.iter().any(|value| !value.is_finite()) {
        return Err(Error::NotFinite);
    }
    // nalgebra's matrices are in column order.
    let matrix = DMatrix::from_iterator(rows, rows, matrix.t().iter().copied());
    let steps = STEPS_PER_DIMENSION * rows;
    let decomposed = SVD::try_new(matrix, true, true, f64::EPSILON, steps);
    let SVD { u, v_t, .. } = decomposed.ok_or(Error::NotConverged)?;
    let factor = u.expect("U was requested") * v_t.expect("Vᵀ was requested");
    Ok(Array2::from_shape_fn((rows, rows), |(row, column)| factor[(row, column)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array1, Array2};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn random(rng: &mut ChaCha8Rng, rows: usize, columns: usize) -> Array2<f64> {
        Array2::from_shape_fn((rows, columns), |_| rng.random_range(-1.0..1.0))
    }

    fn assert_close(a: &Array2<f64>, b: &Array2<f64>) {
        assert!((a - b).iter().all(|difference| difference.abs() < 1e-8), "{a}\n{b}");
    }

    fn assert_orthogonal(matrix: &Array2<f64>) {
        assert_close(&matrix.t().dot(matrix), &Array2::eye(matrix.nrows()));
    }

    #[test]
    fn the_factor_of_an_orthogonal_times_a_positive_matrix_is_the_orthogonal_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for size in [1, 2, 7, 30] {
            let orthogonal = orthogonal_factor(random(&mut rng, size, size).view()).unwrap();
            assert_orthogonal(&orthogonal);
            let root = random(&mut rng, size, size);
            let positive = root.t().dot(&root) + Array2::from_diag(&Array1::from_elem(size, 0.1));
            let factor = orthogonal_factor(orthogonal.dot(&positive).view()).unwrap();
            assert_close(&factor, &orthogonal);
        }
    }

    #[test]
    fn the_factor_of_a_singular_matrix_is_orthogonal() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let x = random(&mut rng, 3, 10);
        let y = random(&mut rng, 3, 10);
        assert_orthogonal(&orthogonal_factor(x.t().dot(&y).view()).unwrap());
        assert_orthogonal(&orthogonal_factor(Array2::zeros((4, 4)).view()).unwrap());
    }

    #[test]
    fn matrices_without_a_factor_are_errors() {
        let factor = |matrix: Array2<f64>| orthogonal_factor(matrix.view()).unwrap_err();
        assert_eq!(factor(Array2::zeros((2, 3))), Error::Shape { rows: 2, columns: 3 });
        assert_eq!(factor(Array2::zeros((0, 0))), Error::Shape { rows: 0, columns: 0 });
        assert_eq!(factor(Array2::from_elem((2, 2), f64::NAN)), Error::NotFinite);
    }
}
