//! Quantization of model folders: matrices are stored in 8 bits, or in 4 bits without loss.
use std::path::Path;

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use torch_ext::TensorFile;

use crate::config::json_file::{read_json, write_json};
use crate::folder::changed_copy::{self, Tensors};
use crate::folder::checkpoint::INT8_FILE;
use crate::folder::four_bits::FourBits;
use crate::folder::load::model_folder;
use crate::folder::stored::{is_token_embeddings, scale_name, stored_error};
use crate::{Error, Result};

/// The key of `config.json` that describes how weights are stored.
pub(crate) const CONFIG_KEY: &str = "quantization_config";

/// `quant_method` of folders whose quantised matrices are all in 8 bits.
const METHOD_8_BITS: &str = "polyqa-int8";

/// `quant_method` of folders with matrices in 4 bits. Versions that cannot load these matrices
/// reject it.
const METHOD_4_BITS: &str = "polyqa-int4-int8";

/// Minimum number of rows and of columns of a quantised matrix; smaller matrices are copied.
const MIN_SIZE: i64 = 64;

/// Options of [`quantize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuantizeOptions {
    /// Whether another model folder at the output path is replaced.
    pub replace: bool,
    /// Whether token embeddings that cannot be stored without loss are an error. Otherwise they are
    /// rounded to 8 bits.
    pub lossless_embeddings: bool,
    /// Whether matrices that cannot be stored in 4 bits without loss are copied. Otherwise they are
    /// rounded to 8 bits.
    pub lossless: bool,
}

/// Sizes reported by [`quantize`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuantizeReport {
    /// Number of matrices stored in 4 bits, without loss.
    pub int4_tensors: usize,
    /// Number of matrices stored in 8 bits, with rounding.
    pub int8_tensors: usize,
    /// Whether the token embeddings are stored without loss.
    pub lossless_embeddings: bool,
    /// Size of the original weight files in bytes.
    pub bytes_before: u64,
    /// Size of the new weight files in bytes.
    pub bytes: u64,
}

/// Writes a copy of a model folder whose matrices are stored in 8 or 4 bits, for inference.
///
/// A matrix is stored in 4 bits if this changes no bit of its elements: if in every block of 32
/// consecutive elements of a row, each element is a multiple from −8 to 7 of a float16 number. This
/// applies to matrices from files in 4 bits, such as GGUF's Q4_0 and the encoder of `cargo xtask
/// pretrained`, that were not trained since, for example frozen token embeddings.
///
/// Each row of another matrix `W` `[outputs, inputs]` becomes `round(127 W / max|W|)`, I8, with the
/// scale `max|W| / 127` in `NAME_scale` `[outputs, 1]`, F32. With
/// [`Precision::Int8`](torch_ext::Precision::Int8), the linear layers compute with the same
/// integers whether the model is loaded from the original or the new folder. In the new folder,
/// token and position embeddings in 8 bits are rounded as well. Vectors and matrices with fewer than
/// 64 rows or columns are copied. With [`lossless`](QuantizeOptions::lossless), no matrix is rounded,
/// and [`export`](crate::export) in float32 restores every tensor.
///
/// [`Model::load`](crate::Model::load) and the programs of this workspace can load the folder. The
/// weights are in `model.int8.safetensors`. Other programs find no `model.safetensors`, so they
/// reject the folder instead of using the integers as weights; [`export`](crate::export) writes a
/// folder for them. The new folder is moved to `out` when it is complete.
///
/// # Errors
/// [`Error::Io`], also if `out` exists and may not be replaced; [`Error::Json`]; [`Error::Config`]
/// if the folder is already quantised; [`Error::Stored`] for a matrix with a non-finite element, and
/// for token embeddings that cannot be stored without loss if this is required; [`Error::Damaged`]
/// and [`Error::TorchExt`] for the weights.
pub fn quantize(
    folder: impl AsRef<Path>,
    out: impl AsRef<Path>,
    options: QuantizeOptions,
) -> Result<QuantizeReport> {
    let folder = model_folder(folder.as_ref())?;
    let path = folder.join("config.json");
    let mut config = read_json(&path, "; a model folder needs a config.json")?;
    if !config[CONFIG_KEY].is_null() {
        let (file, expected) = (path.display().to_string(), "none; this folder is quantized");
        return Err(Error::config(&file, CONFIG_KEY, expected, &config[CONFIG_KEY]));
    }
    let is_skipped = |_: &Path, name: &str| name == "config.json";
    let (out, replace) = (out.as_ref(), options.replace);
    changed_copy::write(&folder, out, replace, &is_skipped, |new_folder| {
        let mut report = QuantizeReport::default();
        let convert = |file: &TensorFile, name: &str, tensors: &mut Tensors| {
            quantize_tensor(file, name, options, tensors, &mut report)
        };
        let sizes = changed_copy::write_weights(&folder, new_folder, INT8_FILE, convert)?;
        (report.bytes_before, report.bytes) = sizes;
        let method = if report.int4_tensors > 0 { METHOD_4_BITS } else { METHOD_8_BITS };
        config[CONFIG_KEY] = json!({"quant_method": method});
        write_json(&new_folder.join("config.json"), &config)?;
        Ok(report)
    })
}

/// Appends a tensor of `file`, quantised if possible, with its scales to `tensors`, and counts it in
/// `report`.
fn quantize_tensor(
    file: &TensorFile,
    name: &str,
    options: QuantizeOptions,
    tensors: &mut Tensors,
    report: &mut QuantizeReport,
) -> Result<()> {
    let tensor = file.read(name)?;
    let is_embeddings = is_token_embeddings(name);
    let is_large = tensor.size().iter().all(|&size| size >= MIN_SIZE);
    if !is_large || tensor.dim() != 2 || !tensor.is_floating_point() {
        report.lossless_embeddings |= is_embeddings;
        tensors.push((name.to_owned(), tensor));
        return Ok(());
    }
    let (values, scales) = match FourBits::of(&tensor)? {
        Some(FourBits { values, scales }) => {
            report.int4_tensors += 1;
            report.lossless_embeddings |= is_embeddings;
            (values, scales)
        }
        None if is_embeddings && options.lossless_embeddings => {
            let expected = "token embeddings on a 4-bit grid (blocks of 32 elements, each a multiple \
                            from -8 to 7 of one float16 number), because they must be stored without \
                            loss";
            let got = "other values, such as those of embeddings that were trained";
            return Err(stored_error(file, name, expected.into(), got.into()));
        }
        None if options.lossless => {
            report.lossless_embeddings |= is_embeddings;
            tensors.push((name.to_owned(), tensor));
            return Ok(());
        }
        None => {
            report.int8_tensors += 1;
            quantize_rows(&tensor, file, name)?
        }
    };
    tensors.push((name.to_owned(), values));
    tensors.push((scale_name(name), scales));
    Ok(())
}

/// Quantizes the rows of a matrix to 8 bits; also returns their scales.
fn quantize_rows(matrix: &Tensor, file: &TensorFile, name: &str) -> Result<(Tensor, Tensor)> {
    let matrix = matrix.f_to_kind(Kind::Float)?;
    if !matrix.f_isfinite()?.f_all()?.f_int64_value(&[]).is_ok_and(|finite| finite == 1) {
        let got = "NaN or an infinity".into();
        return Err(stored_error(file, name, "finite numbers".into(), got));
    }
    let largest = matrix.f_abs()?.f_amax([1i64].as_slice(), true)?;
    let scales = largest.f_div_scalar(127.0)?;
    // Rows of zeros remain zero. `Int8Linear` computes the same product. The quotient by the scale
    // can differ in the last bit, and then be rounded to another integer.
    let divisors = largest.f_masked_fill(&largest.f_eq(0.0)?, 1.0)?;
    let factors = Tensor::from(127f32).f_div(&divisors)?;
    let values = matrix.f_mul(&factors)?.f_round()?.f_clamp(-127.0, 127.0)?;
    Ok((values.f_to_kind(Kind::Int8)?, scales))
}

/// Returns whether [`quantize`] wrote this `quantization_config`.
pub(crate) fn is_quantized(value: &Value) -> bool {
    [METHOD_8_BITS, METHOD_4_BITS].iter().any(|method| value["quant_method"] == *method)
}
