//! A fitted map between languages, and the normalisation of the source vectors.
use ndarray::Array2;
use serde::{Deserialize, Serialize};

use super::{Normalization, Step, map_rows, procrustes};
use crate::Result;

/// Options of [`LinearMap::fit`].
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// Normalisation of the source and target vectors.
    pub normalize: Vec<Step>,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self { normalize: vec![Step::Unit, Step::Center, Step::Unit] }
    }
}

/// The normalisation of a source language and the orthogonal map to a target language.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    source_normalization: Normalization,
    matrix: Array2<f64>,
}

impl LinearMap {
    /// Normalises `source`, `[N, D]`, and `target`, `[M, D]`, in place, and fits a map to `pairs`
    /// of a row of `source` and a row of `target`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) for steps that do not end with [`Step::Unit`];
    /// [`Error::Array`](crate::Error::Array) without a vector, if the numbers of dimensions differ,
    /// a row does not exist, or a value is not finite;
    /// [`Error::Nothing`](crate::Error::Nothing) without a pair.
    pub fn fit(
        source: &mut Array2<f32>,
        target: &mut Array2<f32>,
        pairs: &[(usize, usize)],
        config: &MapConfig,
    ) -> Result<Self> {
        let source_normalization = Normalization::fit(source.view(), &config.normalize)?;
        source_normalization.apply(source)?;
        Normalization::fit(target.view(), &config.normalize)?.apply(target)?;
        let matrix = procrustes(source.view(), target.view(), pairs)?;
        Ok(Self { source_normalization, matrix })
    }

    /// Normalises and maps source vectors, `[N, D]`.
    ///
    /// # Errors
    /// [`Error::Array`](crate::Error::Array) if D differs from the D of the fitted vectors.
    pub fn map_source(&self, mut vectors: Array2<f32>) -> Result<Array2<f32>> {
        self.source_normalization.apply(&mut vectors)?;
        map_rows(vectors.view(), self.matrix.view())
    }

    /// Returns the orthogonal map, `[D, D]`.
    pub(super) fn matrix(&self) -> &Array2<f64> {
        &self.matrix
    }
}
