//! Vectors from a safetensors file.
use std::path::Path;

use ndarray::Array2;

use crate::Result;
use crate::retrieval::map::arrays;

/// Reads the tensor called `name`, `[rows, D]` float32 or float64, as float32.
///
/// # Errors
/// [`Error::Read`](crate::Error::Read); [`Error::Content`](crate::Error::Content) naming file and
/// tensor if the file is damaged, has no such tensor, it is of another dtype or number of
/// dimensions, or a value is no finite float32.
pub fn read_vectors(path: impl AsRef<Path>, name: &str) -> Result<Array2<f32>> {
    arrays::read_tensor(path.as_ref(), &[name], usize::MAX)
}
