//! A fitted map with what it needs, as a file.
use std::collections::HashMap;
use std::path::Path;

use ndarray::Array2;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::refine::refine;
use super::{Frame, RefineConfig, Round, Step, procrustes, turned};
use crate::files::write_whole;
use crate::{Error, Result};

/// How a map is fitted.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MapConfig {
    /// Normalisation of both sides.
    pub normalize: Vec<Step>,
    /// Rounds of refinement; none, if missing.
    pub refine: Option<RefineConfig>,
}

impl Default for MapConfig {
    fn default() -> Self {
        Self { normalize: vec![Step::Unit, Step::Center, Step::Unit], refine: None }
    }
}

/// The normalisation of two languages and the orthogonal map from the first to the second.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMap {
    source: Frame,
    target: Frame,
    matrix: Array2<f64>,
}

/// The `format` of a map's file.
const FORMAT: &str = "transfer-eval map 1";

impl LinearMap {
    /// Fits a map to pairs of rows of `source` `[N, D]` and `target` `[M, D]`; both are normalised
    /// in place, so that they need no room twice. Also returns the rounds of refinement, none where
    /// it is not configured.
    ///
    /// # Errors
    /// [`Error::Config`] for steps that do not end with [`Step::Unit`], or a refinement of 0 words
    /// or neighbours; [`Error::Array`] without a vector, if the numbers of dimensions differ, a row
    /// does not exist, or a value is not finite; [`Error::Nothing`] without a pair.
    pub fn fit(
        source: &mut Array2<f32>,
        target: &mut Array2<f32>,
        pairs: &[(usize, usize)],
        config: &MapConfig,
    ) -> Result<(Self, Vec<Round>)> {
        let frame = |vectors: &mut Array2<f32>| {
            let frame = Frame::fit(vectors.view(), &config.normalize)?;
            frame.apply(vectors)?;
            Ok::<_, Error>(frame)
        };
        let (source_frame, target_frame) = (frame(source)?, frame(target)?);
        let (source, target) = (source.view(), target.view());
        let mut matrix = procrustes(source, target, pairs)?;
        let mut rounds = Vec::new();
        if let Some(config) = &config.refine {
            let refined = refine(source, target, pairs, matrix, config)?;
            matrix = refined.matrix;
            rounds = refined.rounds;
        }
        Ok((Self { source: source_frame, target: target_frame, matrix }, rounds))
    }

    /// The map, `[D, D]`: rows of the source are multiplied from the left.
    pub fn matrix(&self) -> &Array2<f64> {
        &self.matrix
    }

    /// Source vectors, `[N, D]`, normalised and mapped.
    ///
    /// # Errors
    /// [`Error::Array`] if D differs.
    pub fn source(&self, mut vectors: Array2<f32>) -> Result<Array2<f32>> {
        self.source.apply(&mut vectors)?;
        turned(vectors.view(), self.matrix.view())
    }

    /// Target vectors, `[M, D]`, normalised.
    ///
    /// # Errors
    /// [`Error::Array`] if D differs.
    pub fn target(&self, mut vectors: Array2<f32>) -> Result<Array2<f32>> {
        self.target.apply(&mut vectors)?;
        Ok(vectors)
    }

    /// Writes a safetensors file: `matrix` `[D, D]`, `source_means` and `target_means` `[centers,
    /// D]`, float64; its metadata hold `format` and `normalize`.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let failed =
            |error: safetensors::SafeTensorError| Error::write(path)(std::io::Error::other(error));
        let arrays = [
            ("matrix", &self.matrix),
            ("source_means", &self.source.means),
            ("target_means", &self.target.means),
        ];
        let bytes = arrays.map(|(name, array)| {
            let bytes: Vec<u8> = array.iter().flat_map(|value| value.to_le_bytes()).collect();
            (name, vec![array.nrows(), array.ncols()], bytes)
        });
        let mut views = Vec::new();
        for (name, shape, bytes) in &bytes {
            views.push((*name, TensorView::new(Dtype::F64, shape.clone(), bytes).map_err(failed)?));
        }
        let steps = self.source.steps.iter().map(|step| match step {
            Step::Unit => "unit",
            Step::Center => "center",
        });
        let metadata = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("normalize".to_owned(), steps.collect::<Vec<_>>().join(",")),
        ]);
        let bytes = safetensors::serialize(views, Some(metadata)).map_err(failed)?;
        write_whole(path, &bytes)
    }

    /// Reads what [`LinearMap::write`] wrote.
    ///
    /// # Errors
    /// [`Error::Read`]; [`Error::Content`] naming the file, and the tensor, if it is no such file.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let wrong = |message: String| Error::content(path, message);
        let bytes = std::fs::read(path).map_err(Error::read(path))?;
        whole_file::remember_input(path);
        let not_one = |error: &dyn std::fmt::Display| wrong(format!("not a map: {error}"));
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|error| not_one(&error))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| not_one(&error))?;
        let metadata = header.metadata().clone().unwrap_or_default();
        if metadata.get("format").map(String::as_str) != Some(FORMAT) {
            return Err(not_one(&format!("its metadata lack `format` = `{FORMAT}`")));
        }
        let steps = metadata.get("normalize").map_or("", String::as_str);
        let steps = Step::list(steps).map_err(|error| not_one(&error))?;
        let array = |name: &str| {
            let tensor = file.tensor(name).map_err(|_| wrong(format!("no tensor `{name}`")))?;
            let (&[rows, columns], Dtype::F64) = (tensor.shape(), tensor.dtype()) else {
                let (shape, dtype) = (tensor.shape(), tensor.dtype());
                let message = format!("`{name}` is {dtype:?} of shape {shape:?}");
                return Err(wrong(message + "; expected F64 of two dimensions"));
            };
            let values = tensor.data().as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b));
            Array2::from_shape_vec((rows, columns), values.collect())
                .map_err(|error| wrong(format!("`{name}`: {error}")))
        };
        let matrix = array("matrix")?;
        let frame = |name: &str| {
            let means = array(name)?;
            if means.ncols() != matrix.nrows() || matrix.nrows() != matrix.ncols() {
                let message = format!("has {:?} for a matrix of {:?}", means.dim(), matrix.dim());
                return Err(wrong(format!("`{name}` {message}")));
            }
            let frame = Frame { steps: steps.clone(), means };
            frame.checked().map_err(|error| wrong(format!("`{name}`: {error}")))
        };
        let (source, target) = (frame("source_means")?, frame("target_means")?);
        if matrix.iter().any(|value| !value.is_finite()) {
            return Err(wrong("`matrix` has a value that is not finite".into()));
        }
        Ok(Self { source, target, matrix })
    }
}
