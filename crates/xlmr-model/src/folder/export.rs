//! Export of model folders for other programs: all weights are floating-point tensors.
use std::path::Path;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use torch_ext::TensorFile;

use crate::config::json_file::{read_json, write_json};
use crate::folder::changed_copy::{self, Tensors};
use crate::folder::checkpoint::SINGLE_FILE;
use crate::folder::load::model_folder;
use crate::folder::quantize::{CONFIG_KEY, is_quantized};
use crate::folder::stored::{is_scale, read_quantized, stored_error};
use crate::{Error, Result};

/// Dtype of exported weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportDtype {
    /// float16, half the size. Weights are rounded to 11 bits.
    F16,
    /// float32, without loss.
    F32,
}

/// Sizes reported by [`export`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Number of tensors that were stored in 8 or 4 bits.
    pub quantized_tensors: usize,
    /// Size of the original weight files in bytes.
    pub bytes_before: u64,
    /// Size of the new weight files in bytes.
    pub bytes: u64,
}

/// Writes a copy of a model folder for transformers and other programs: quantised matrices become
/// floating-point tensors in `model.safetensors`.
///
/// The folder may be [quantised](crate::quantize) or not. `dtype` of `config.json` is `float32`, so
/// that transformers computes in float32 also with weights in float16. All other files are copied,
/// among them the tokenizer's and `calibration.json` of a reader. The new folder is moved to `out`
/// when it is complete. If `replace`, `out` may be another model folder, which is replaced.
///
/// # Errors
/// [`Error::Io`], also if `out` exists and may not be replaced; [`Error::Json`]; [`Error::Config`]
/// for weights that were quantised by another program; [`Error::Stored`] for a damaged tensor, and
/// for an element that float16 cannot represent; [`Error::Damaged`] and [`Error::TorchExt`] for the
/// weights.
pub fn export(
    folder: impl AsRef<Path>,
    out: impl AsRef<Path>,
    dtype: ExportDtype,
    replace: bool,
) -> Result<ExportReport> {
    let folder = model_folder(folder.as_ref())?;
    let path = folder.join("config.json");
    let mut config = read_json(&path, "; a model folder needs a config.json")?;
    let file = path.display().to_string();
    let Some(keys) = config.as_object_mut() else {
        return Err(Error::config(&file, "(whole file)", "an object", &config));
    };
    let quantization = keys.remove(CONFIG_KEY).filter(|value| !value.is_null());
    if let Some(value) = quantization.filter(|value| !is_quantized(value)) {
        let expected = "null, or the value written by `xlmr-model quantize`";
        return Err(Error::config(&file, CONFIG_KEY, expected, value));
    }
    // The key of transformers before version 5.
    keys.remove("torch_dtype");
    keys.insert("dtype".to_owned(), json!("float32"));
    let is_skipped = |_: &Path, name: &str| name == "config.json";
    changed_copy::write(&folder, out.as_ref(), replace, &is_skipped, |new_folder| {
        write_json(&new_folder.join("config.json"), &Value::Object(keys.clone()))?;
        let mut quantized_tensors = 0;
        let convert = |file: &TensorFile, name: &str, tensors: &mut Tensors| {
            if is_scale(file, name) {
                return Ok(());
            }
            let quantized = read_quantized(file, name, Device::Cpu)?;
            quantized_tensors += usize::from(quantized.is_some());
            let tensor = match quantized {
                Some(tensor) => tensor,
                None => file.read(name)?,
            };
            tensors.push((name.to_owned(), to_dtype(tensor, dtype, file, name)?));
            Ok(())
        };
        let (bytes_before, bytes) =
            changed_copy::write_weights(&folder, new_folder, SINGLE_FILE, convert)?;
        Ok(ExportReport { quantized_tensors, bytes_before, bytes })
    })
}

/// Converts a floating-point tensor. Tensors of integers, such as positions, are unchanged.
fn to_dtype(tensor: Tensor, dtype: ExportDtype, file: &TensorFile, name: &str) -> Result<Tensor> {
    if !tensor.is_floating_point() {
        return Ok(tensor);
    }
    let converted = tensor.f_to_kind(match dtype {
        ExportDtype::F16 => Kind::Half,
        ExportDtype::F32 => Kind::Float,
    })?;
    let overflows = converted.f_isinf()?.f_logical_and(&tensor.f_isfinite()?)?;
    if overflows.f_any()?.f_int64_value(&[])? == 1 {
        let (expected, got) = ("numbers of at most 65504 for float16", "a larger one; use float32");
        return Err(stored_error(file, name, expected.into(), got.into()));
    }
    Ok(converted)
}
