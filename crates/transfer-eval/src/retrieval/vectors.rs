//! Vectors from a safetensors file.
use std::path::Path;

use ndarray::Array2;
use safetensors::{Dtype, SafeTensors};

use crate::{Error, Result};

/// Reads the tensor `name`, `[rows, D]` float32 or float64, as float32.
///
/// # Errors
/// [`Error::File`]; [`Error::Content`] naming file and tensor if the file is damaged, has no such
/// tensor, the tensor has another dtype or number of dimensions, or a value is not a finite
/// float32.
pub fn read_vectors(path: impl AsRef<Path>, name: &str) -> Result<Array2<f32>> {
    let path = path.as_ref();
    let bytes = atomic_file::fs::read(path)?;
    atomic_file::report_opened(path);
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| Error::content(path, format!("not a safetensors file: {error}")))?;
    let tensor = file.tensor(name).map_err(|_| {
        let mut names: Vec<String> = file.names().iter().map(|name| format!("`{name}`")).collect();
        names.sort_unstable();
        Error::content(path, format!("no tensor `{name}`; the file has {}", names.join(", ")))
    })?;
    let data = tensor.data();
    let (shape, values): (_, Vec<f32>) = match (tensor.shape(), tensor.dtype()) {
        (&[rows, width], Dtype::F32) => {
            let values = data.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
            ((rows, width), values.collect())
        }
        (&[rows, width], Dtype::F64) => {
            let values = data.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
            ((rows, width), values.map(|value| value as f32).collect())
        }
        (shape, dtype) => {
            let message = format!("`{name}` is {dtype:?} of shape {shape:?}");
            return Err(Error::content(path, message + "; expected F32 or F64 [rows, D]"));
        }
    };
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        let row = index / shape.1.max(1) + 1;
        let message = format!("`{name}`: row {row} has a value that is not a finite float32");
        return Err(Error::content(path, message));
    }
    Array2::from_shape_vec(shape, values)
        .map_err(|error| Error::content(path, format!("`{name}`: {error}")))
}
