//! Vectors from a safetensors file.
use std::path::Path;

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

/// Reads the tensor called `name`, `[rows, D]` float32.
///
/// # Errors
/// [`Error::Read`]; [`Error::Content`] naming file and tensor if the file is damaged, has no such
/// tensor, or it is of another dtype or number of dimensions.
pub fn read_vectors(path: impl AsRef<Path>, name: &str) -> Result<Array2<f32>> {
    let path = path.as_ref();
    let failed = |source| Error::Read { path: path.to_path_buf(), source };
    let bytes = std::fs::read(path).map_err(failed)?;
    whole_file::remember_input(path);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::content(path, format!("not a safetensors file: {error}")))?;
    let tensor = file.tensor(name).map_err(|_| {
        let names = file.names().into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        Error::content(path, format!("no tensor `{name}`; it has {}", names.join(", ")))
    })?;
    let (&[rows, width], Dtype::F32) = (tensor.shape(), tensor.dtype()) else {
        let (shape, dtype) = (tensor.shape(), tensor.dtype());
        let message = format!("`{name}` is {dtype:?} of shape {shape:?}; expected F32 [rows, D]");
        return Err(Error::content(path, message));
    };
    let values = tensor.data().as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    Array2::from_shape_vec((rows, width), values.collect())
        .map_err(|error| Error::content(path, format!("`{name}`: {error}")))
}
