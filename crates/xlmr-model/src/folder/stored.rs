//! Stored weights: floating-point tensors, and matrices in 8 or 4 bits with scales.
use tch::{Device, Kind, Tensor};
use torch_ext::TensorFile;

use crate::folder::four_bits::{BLOCK, FourBits};
use crate::{Architecture, Error, Result};

/// The name of the scales of a quantised matrix is the matrix's name and this suffix.
const SCALE_SUFFIX: &str = "_scale";

/// The dtypes of weights that are not quantised.
const FLOATS: [&str; 3] = ["F32", "F16", "BF16"];
const FLOAT_DTYPES: &str = "dtype F32, F16 or BF16";

/// Number of bytes of a block of a matrix in 4 bits.
const BLOCK_BYTES: i64 = BLOCK / 2;

/// How a tensor is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// A tensor with the elements of the weight.
    Plain,
    /// A matrix of I8 with one scale per row.
    Int8,
    /// A matrix of U8 with two elements per byte and one scale per block, see [`FourBits`].
    Int4,
}

impl Storage {
    fn of(file: &TensorFile, name: &str) -> Self {
        let is_matrix = file.shape(name).is_some_and(|shape| shape.len() == 2);
        match file.dtype(name).as_deref() {
            Some("I8") if is_matrix => Self::Int8,
            Some("U8") if is_matrix => Self::Int4,
            _ => Self::Plain,
        }
    }
}

/// Returns the name of the scales of a matrix.
pub(crate) fn scale_name(name: &str) -> String {
    format!("{name}{SCALE_SUFFIX}")
}

/// Returns the matrix whose scales would have this name.
pub(crate) fn matrix_name(name: &str) -> &str {
    name.strip_suffix(SCALE_SUFFIX).unwrap_or(name)
}

/// Returns whether a tensor of this name has the token embeddings of a model of any architecture.
/// The name may lack the encoder's prefix.
pub(crate) fn is_token_embeddings(name: &str) -> bool {
    Architecture::all_names().iter().any(|names| {
        let name_in_encoder = names.word_embeddings.strip_prefix(names.prefix);
        name.ends_with(name_in_encoder.unwrap_or(names.word_embeddings))
    })
}

/// Returns whether a tensor has the scales of a quantised matrix.
pub(crate) fn is_scale(file: &TensorFile, name: &str) -> bool {
    let matrix = name.strip_suffix(SCALE_SUFFIX);
    matrix.is_some_and(|matrix| Storage::of(file, matrix) != Storage::Plain)
}

/// Returns the shape of a weight, if the file contains it.
pub(crate) fn shape(file: &TensorFile, name: &str) -> Option<Vec<i64>> {
    let mut shape = file.shape(name)?;
    if Storage::of(file, name) == Storage::Int4 {
        // A matrix without rows has no bytes that would limit its number of columns.
        shape[1] = shape[1].saturating_mul(2);
    }
    Some(shape)
}

/// Returns the dtype of a weight, if the file contains it: the dtype of the stored tensor, or I4 for
/// a matrix in 4 bits.
pub(crate) fn dtype(file: &TensorFile, name: &str) -> Option<String> {
    match Storage::of(file, name) {
        Storage::Int4 => Some("I4".to_owned()),
        Storage::Plain | Storage::Int8 => file.dtype(name),
    }
}

/// Checks that a weight of a model has this shape and a supported dtype, and that the scales of a
/// quantised matrix match. The error message contains `source`, which describes what determines the
/// shape.
pub(crate) fn check_weight(
    file: &TensorFile,
    name: &str,
    expected: &[i64],
    source: &str,
) -> Result<()> {
    check_shape(file, name, shape(file, name), expected, source)?;
    check_storage(file, name)
}

fn check_shape(
    file: &TensorFile,
    name: &str,
    shape: Option<Vec<i64>>,
    expected: &[i64],
    source: &str,
) -> Result<()> {
    match shape {
        Some(shape) if shape != expected => {
            let expected = format!("shape {expected:?} {source}");
            Err(stored_error(file, name, expected, format!("{shape:?}")))
        }
        _ => Ok(()),
    }
}

/// Checks that a tensor that cannot be quantised has this shape and a floating-point dtype.
pub(crate) fn check_float(
    file: &TensorFile,
    name: &str,
    expected: &[i64],
    source: &str,
) -> Result<()> {
    check_shape(file, name, file.shape(name), expected, source)?;
    check_float_dtype(file, name)
}

fn check_float_dtype(file: &TensorFile, name: &str) -> Result<()> {
    match file.dtype(name) {
        Some(dtype) if !FLOATS.contains(&dtype.as_str()) => {
            Err(stored_error(file, name, FLOAT_DTYPES.into(), dtype))
        }
        // A tensor that is missing is reported when it is read.
        _ => Ok(()),
    }
}

/// Checks that a weight has a supported dtype, and that the scales of a quantised matrix match.
fn check_storage(file: &TensorFile, name: &str) -> Result<()> {
    let scales = scale_name(name);
    let shape = file.shape(name);
    let (storage, Some(&[rows, columns])) = (Storage::of(file, name), shape.as_deref()) else {
        return check_float_dtype(file, name);
    };
    let expected = match storage {
        Storage::Plain => return check_float_dtype(file, name),
        Storage::Int8 => [rows, 1],
        Storage::Int4 if columns % BLOCK_BYTES == 0 => [rows, columns / BLOCK_BYTES],
        Storage::Int4 => {
            let expected = format!("rows of a multiple of {BLOCK_BYTES} bytes");
            return Err(stored_error(file, name, expected, columns.to_string()));
        }
    };
    match file.shape(&scales) {
        None => {
            let expected = format!("{FLOAT_DTYPES}, or a quantised matrix with {scales}");
            let dtype = if storage == Storage::Int8 { "I8" } else { "U8" };
            Err(stored_error(file, name, expected, format!("{dtype} without these scales")))
        }
        Some(shape) if shape != expected => {
            let expected = format!("shape {expected:?}, for the scales of {name}");
            Err(stored_error(file, &scales, expected, format!("{shape:?}")))
        }
        Some(_) => check_float_dtype(file, &scales),
    }
}

/// Reads a tensor that [`check_float`] accepts, and converts it to float32.
pub(crate) fn read_float(
    file: &TensorFile,
    name: &str,
    shape: &[i64],
    device: Device,
    source: &str,
) -> Result<Tensor> {
    check_float(file, name, shape, source)?;
    Ok(file.read(name)?.f_to_device(device)?.f_to_kind(Kind::Float)?)
}

/// Returns the values of a quantised matrix in float32, or `None` if the tensor is not quantised.
pub(crate) fn read_quantized(
    file: &TensorFile,
    name: &str,
    device: Device,
) -> Result<Option<Tensor>> {
    check_storage(file, name)?;
    let scales = || file.read(&scale_name(name));
    Ok(match Storage::of(file, name) {
        Storage::Plain => None,
        Storage::Int8 => {
            let scales = scales()?.f_to_device(device)?.f_to_kind(Kind::Float)?;
            Some(file.read(name)?.f_to_device(device)?.f_mul(&scales)?)
        }
        Storage::Int4 => {
            let matrix = FourBits { values: file.read(name)?, scales: scales()? };
            Some(matrix.to_float32()?.f_to_device(device)?)
        }
    })
}

pub(crate) fn stored_error(file: &TensorFile, name: &str, expected: String, got: String) -> Error {
    Error::Stored { path: file.path().to_owned(), tensor: name.to_owned(), expected, got }
}
