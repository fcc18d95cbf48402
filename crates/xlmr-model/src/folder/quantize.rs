//! Quantization of model folders: matrices are stored in 8 bits.
use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use torch_ext::TensorFile;

use crate::config::json_file::{read_json, write_json};
use crate::folder::changed_copy;
use crate::folder::checkpoint::{INT8_FILE, SCALE_SUFFIX, stored_error};
use crate::folder::load::model_folder;
use crate::{Error, Result};

/// The key of `config.json` that describes how weights are stored.
pub(crate) const CONFIG_KEY: &str = "quantization_config";

/// `quant_method` of the folders that [`quantize`] writes.
const METHOD: &str = "polyqa-int8";

/// Minimum number of rows and of columns of a quantised matrix; smaller matrices are copied.
const MIN_SIZE: i64 = 64;

/// Sizes reported by [`quantize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuantizeReport {
    /// Number of tensors stored in 8 bits.
    pub quantized_tensors: usize,
    /// Size of the original weight files in bytes.
    pub bytes_before: u64,
    /// Size of the new weight files in bytes.
    pub bytes: u64,
}

/// Writes a copy of a model folder whose matrices are stored in 8 bits, for inference.
///
/// Each row of a matrix `W` `[outputs, inputs]` becomes `round(127 W / max|W|)`, I8, with the scale
/// `max|W| / 127` in `NAME_scale` `[outputs, 1]`, F32. With
/// [`Precision::Int8`](torch_ext::Precision::Int8), the linear layers compute with the same
/// integers whether the model is loaded from the original or the new folder. In the new folder,
/// token and position embeddings are rounded as well. Vectors and matrices with fewer than 64 rows
/// or columns are copied.
///
/// [`Model::load`](crate::Model::load) and the programs of this workspace can load the folder. The
/// weights are in `model.int8.safetensors`. Other programs find no `model.safetensors`, so they
/// reject the folder instead of using the integers as weights. The new folder is moved to `out`
/// when it is complete. If `replace`, `out` may be another model folder, which is replaced.
///
/// # Errors
/// [`Error::Io`], also if `out` exists and may not be replaced; [`Error::Json`]; [`Error::Config`]
/// if the folder is already quantised; [`Error::Stored`] for a matrix with a non-finite element;
/// [`Error::Damaged`] and [`Error::TorchExt`] for the weights.
pub fn quantize(
    folder: impl AsRef<Path>,
    out: impl AsRef<Path>,
    replace: bool,
) -> Result<QuantizeReport> {
    let folder = model_folder(folder.as_ref())?;
    let path = folder.join("config.json");
    let mut config = read_json(&path, "; a model folder needs a config.json")?;
    if !config[CONFIG_KEY].is_null() {
        let (file, expected) = (path.display().to_string(), "none; this folder is quantized");
        return Err(Error::config(&file, CONFIG_KEY, expected, &config[CONFIG_KEY]));
    }
    config[CONFIG_KEY] = json!({"quant_method": METHOD});
    let is_skipped = |_: &Path, name: &str| name == "config.json";
    changed_copy::write(&folder, out.as_ref(), replace, &is_skipped, |new_folder| {
        write_json(&new_folder.join("config.json"), &config)?;
        let mut n_quantized = 0;
        let (bytes_before, bytes) =
            changed_copy::write_weights(&folder, new_folder, INT8_FILE, |file, name, tensors| {
                let tensor = file.read(name)?;
                let is_large = tensor.size().iter().all(|&size| size >= MIN_SIZE);
                if !is_large || tensor.dim() != 2 || !tensor.is_floating_point() {
                    tensors.push((name.to_owned(), tensor));
                    return Ok(());
                }
                let (values, scales) = quantize_rows(&tensor, file, name)?;
                tensors.push((name.to_owned(), values));
                tensors.push((format!("{name}{SCALE_SUFFIX}"), scales));
                n_quantized += 1;
                Ok(())
            })?;
        Ok(QuantizeReport { quantized_tensors: n_quantized, bytes_before, bytes })
    })
}

/// Quantizes the rows of a matrix to 8 bits; also returns their scales.
fn quantize_rows(matrix: &Tensor, file: &TensorFile, name: &str) -> Result<(Tensor, Tensor)> {
    let matrix = matrix.f_to_kind(Kind::Float)?;
    if !matrix.f_isfinite()?.f_all()?.f_int64_value(&[]).is_ok_and(|finite| finite == 1) {
        let got = "NaN or an infinity".into();
        return Err(stored_error(file, name, "finite numbers".into(), got));
    }
    let scales = matrix.f_abs()?.f_amax([1i64].as_slice(), true)?.f_div_scalar(127.0)?;
    // Rows of zeros remain zero.
    let divisors = scales.f_masked_fill(&scales.f_eq(0.0)?, 1.0)?;
    let values = matrix.f_div(&divisors)?.f_round()?.f_clamp(-127.0, 127.0)?;
    Ok((values.f_to_kind(Kind::Int8)?, scales))
}

/// Returns whether [`quantize`] wrote this `quantization_config`.
pub(crate) fn is_int8(value: &Value) -> bool {
    value["quant_method"] == METHOD
}
