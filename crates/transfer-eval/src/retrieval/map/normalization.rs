//! Normalisation of vectors.
use ndarray::{Array1, Array2, ArrayView1, ArrayView2, Axis};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Rows per parallel block. Block sums are added in order, so that the result does not depend on
/// the number of threads.
const BLOCK: usize = 4096;

/// One step of normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Each vector is scaled to length 1; a zero vector is unchanged.
    Unit,
    /// The mean of all vectors is subtracted from each vector.
    Center,
}

/// A normalisation for the vectors of one language. It consists of steps, and of means that were
/// computed from the language's vocabulary. Vectors that are not in the vocabulary are normalised
/// with these means.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Normalization {
    steps: Vec<Step>,
    /// One mean per centring step, `[steps, D]`.
    means: Array2<f64>,
}

impl Normalization {
    /// Computes the means of `vectors`, `[N, D]`, for `steps`; sums are in float64.
    ///
    /// # Errors
    /// [`Error::Config`] if the last step is not [`Step::Unit`]; [`Error::Array`] without a vector.
    pub fn fit(vectors: ArrayView2<'_, f32>, steps: &[Step]) -> Result<Self> {
        if steps.last() != Some(&Step::Unit) {
            let rule = "a list of `unit` and `center` that ends with `unit`";
            return Err(Error::config("normalize", format!("{steps:?}"), rule));
        }
        if vectors.is_empty() {
            return Err(Error::array("vectors", format!("no vectors (shape {:?})", vectors.dim())));
        }
        let mut result = Self { steps: Vec::new(), means: Array2::zeros((0, vectors.ncols())) };
        for &step in steps {
            if step == Step::Center {
                let mean = result.mean(vectors);
                result
                    .means
                    .push_row(mean.view())
                    .map_err(|error| Error::array("vectors", error.to_string()))?;
            }
            result.steps.push(step);
        }
        Ok(result)
    }

    /// The number of dimensions.
    fn width(&self) -> usize {
        self.means.ncols()
    }

    /// Normalises vectors, `[N, D]`, in place. Values are computed in float64 and rounded to
    /// float32 once. The resulting rows have length 1 or are zero.
    ///
    /// # Errors
    /// [`Error::Array`] if D differs.
    pub fn apply(&self, vectors: &mut Array2<f32>) -> Result<()> {
        if vectors.ncols() != self.width() {
            let message = format!("{} dimensions; expected {}", vectors.ncols(), self.width());
            return Err(Error::array("vectors", message));
        }
        let blocks: Vec<_> = vectors.axis_chunks_iter_mut(Axis(0), BLOCK).collect();
        blocks.into_par_iter().for_each(|mut block| {
            let mut values = Vec::with_capacity(self.width());
            for mut row in block.outer_iter_mut() {
                self.normalize(row.view(), &mut values);
                row.iter_mut().zip(&values).for_each(|(slot, value)| *slot = *value as f32);
            }
        });
        Ok(())
    }

    /// Returns the mean of the vectors after the steps in `self`.
    fn mean(&self, vectors: ArrayView2<'_, f32>) -> Array1<f64> {
        let blocks: Vec<_> = vectors.axis_chunks_iter(Axis(0), BLOCK).collect();
        let sums: Vec<Array1<f64>> = blocks
            .into_par_iter()
            .map(|block| {
                let mut sum = Array1::zeros(self.width());
                let mut values = Vec::with_capacity(self.width());
                for row in block.outer_iter() {
                    self.normalize(row, &mut values);
                    sum.iter_mut().zip(&values).for_each(|(sum, value)| *sum += value);
                }
                sum
            })
            .collect();
        let sum = sums.iter().fold(Array1::zeros(self.width()), |sum, part| sum + part);
        sum / vectors.nrows() as f64
    }

    /// Applies all steps to `row` and writes the result to `values`.
    fn normalize(&self, row: ArrayView1<'_, f32>, values: &mut Vec<f64>) {
        values.clear();
        values.extend(row.iter().map(|&value| f64::from(value)));
        let mut means = self.means.outer_iter();
        for step in &self.steps {
            match step {
                Step::Unit => {
                    let norm = values.iter().map(|value| value * value).sum::<f64>().sqrt();
                    if norm > 0.0 {
                        values.iter_mut().for_each(|value| *value /= norm);
                    }
                }
                Step::Center => {
                    let mean = means.next().expect("each centering has a mean");
                    values.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
                }
            }
        }
    }
}
