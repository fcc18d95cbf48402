//! Attention of packed rows on a GPU, with libtorch's FlashAttention-2 (Dao 2023).
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, make_tensor};
use crate::{Attention, Result, seeded_randn};

/// Computes self-attention of packed rows like [`packed_attention`](crate::packed_attention), on a
/// GPU.
///
/// # Shapes
/// - `query`, `key`, `value`: `[N, heads * D]`, float16 or bfloat16 on a CUDA device, the
///   concatenated tokens of all rows
/// - `row_offsets`: `[rows + 1]` int32 on the same device, the index of each row's first token
///   among the N tokens, followed by N; `max_length`: the number of tokens of the longest row
/// - returns `[N, heads * D]`, of the same dtype
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if shapes, dtypes or devices do not match, `dropout`
/// is outside `0..1`, or the GPU or the build of libtorch does not support FlashAttention.
pub fn flash_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    row_offsets: &Tensor,
    max_length: i64,
    attention: &Attention,
) -> Result<Tensor> {
    let window = attention.raw_window()?;
    // SAFETY: live tensors; the shim checks shapes, dtypes and devices and, on success, returns a
    // tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_flash_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            row_offsets.as_ptr(),
            max_length,
            attention.heads,
            window,
            attention.dropout,
            out,
            error,
        )
    })
}

/// Device, dtype and shape for which [`flash_attention_error`] tests attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashConfig {
    /// The device.
    pub device: Device,
    /// The dtype.
    pub kind: Kind,
    /// The dimension of a head.
    pub head_dim: i64,
    /// Whether attention windows are tested as well.
    pub test_windows: bool,
}

/// Tests [`flash_attention`]. Returns the reason why this function is unavailable or inaccurate, or
/// `None` if it can be used.
///
/// The test compares outputs and gradients of two short rows with plain float32 operations. It runs
/// once per [`FlashConfig`] and does not change the state of any random generator.
///
/// # Example
/// ```
/// use tch::{Device, Kind};
/// use torch_ext::{FlashConfig, flash_attention_error};
///
/// let (device, kind) = (Device::Cpu, Kind::BFloat16);
/// let config = FlashConfig { device, kind, head_dim: 64, test_windows: false };
/// assert!(flash_attention_error(config).is_some_and(|error| error.contains("CUDA device")));
/// ```
pub fn flash_attention_error(config: FlashConfig) -> Option<String> {
    static RESULTS: Mutex<Vec<(FlashConfig, Option<String>)>> = Mutex::new(Vec::new());
    let FlashConfig { device, kind, head_dim, test_windows } = config;
    if !matches!(device, Device::Cuda(_)) || !matches!(kind, Kind::Half | Kind::BFloat16) {
        return Some(format!(
            "expected half precision on a CUDA device, got {kind:?} on {device:?}"
        ));
    }
    let mut results = RESULTS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, error)) = results.iter().find(|(tested, _)| *tested == config) {
        return error.clone();
    }
    let windows_to_test = if test_windows { vec![None, Some(8)] } else { vec![None] };
    let error = windows_to_test.into_iter().find_map(|window| {
        let measure = || measure_error(device, kind, head_dim, window);
        match tch::with_grad(|| crate::without_autocast(measure)).and_then(|result| result) {
            Ok(difference) if difference < TOLERANCE => None,
            Ok(difference) => {
                Some(format!("libtorch's FlashAttention has an error of {difference:.2}"))
            }
            Err(error) => Some(format!("libtorch's FlashAttention: {error}")),
        }
    });
    results.push((config, error.clone()));
    error
}

/// Maximum accepted difference between outputs or gradients, whose magnitude is near 1 in the test.
const TOLERANCE: f64 = 0.05;

/// Returns the largest difference between [`flash_attention`] and plain float32 operations.
fn measure_error(device: Device, kind: Kind, head_dim: i64, window: Option<i64>) -> Result<f64> {
    let (lengths, heads) = ([3i64, 40], 2i64);
    let attention = Attention { heads, window, dropout: 0.0 };
    let total: i64 = lengths.iter().sum();
    let random_tensor = |seed: i64| -> Result<Tensor> {
        Ok(seeded_randn(&[total, heads * head_dim], seed)?.f_to_device(device)?.f_to_kind(kind)?)
    };
    let (weight, inputs) = (
        random_tensor(4)?.f_to_kind(Kind::Float)?,
        [random_tensor(1)?, random_tensor(2)?, random_tensor(3)?],
    );
    let [query, key, value] = &inputs;
    let new_parameters = |kind: Kind| -> Result<[Tensor; 3]> {
        let to_parameter = |t: &Tensor| t.f_to_kind(kind)?.f_detach()?.f_set_requires_grad(true);
        Ok([to_parameter(query)?, to_parameter(key)?, to_parameter(value)?])
    };
    let run = |flash: bool, kind: Kind| -> Result<[Tensor; 4]> {
        let parameters = new_parameters(kind)?;
        let [query, key, value] = &parameters;
        let out = if flash {
            let row_offsets = Tensor::f_from_slice(&[0i32, 3, 43])?.f_to_device(device)?;
            flash_attention(query, key, value, &row_offsets, 40, &attention)?
        } else {
            let (mut first, mut rows) = (0, Vec::new());
            for length in lengths {
                let row_heads = |t: &Tensor| {
                    t.f_narrow(0, first, length)?
                        .f_view([length, heads, head_dim])?
                        .f_transpose(0, 1)
                };
                let scores = row_heads(query)?.f_matmul(&row_heads(key)?.f_transpose(1, 2)?)?;
                let mut scores = scores.f_div_scalar((head_dim as f64).sqrt())?;
                if let Some(window) = window {
                    let ones = Tensor::f_ones([length, length], (Kind::Bool, device))?;
                    let outside_window =
                        ones.f_triu(window + 1)?.f_logical_or(&ones.f_tril(-window - 1)?)?;
                    scores = scores.f_masked_fill(&outside_window, f64::NEG_INFINITY)?;
                }
                let row = scores.f_softmax(-1, Kind::Float)?.f_matmul(&row_heads(value)?)?;
                rows.push(row.f_transpose(0, 1)?.f_reshape([length, heads * head_dim])?);
                first += length;
            }
            Tensor::f_cat(&rows, 0)?
        };
        out.f_to_kind(Kind::Float)?.f_mul(&weight)?.f_sum(Kind::Float)?.f_backward()?;
        Ok([out.f_detach()?, query.f_grad()?, key.f_grad()?, value.f_grad()?])
    };
    let mut max_difference = 0f64;
    for (a, b) in run(true, kind)?.iter().zip(&run(false, Kind::Float)?) {
        let difference =
            a.f_to_kind(Kind::Float)?.f_sub(b)?.f_abs()?.f_max()?.f_double_value(&[])?;
        max_difference =
            if difference.is_nan() { f64::INFINITY } else { max_difference.max(difference) };
    }
    Ok(max_difference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_on_the_cpu_are_an_error() {
        let x = Tensor::ones([3, 64], (Kind::BFloat16, Device::Cpu));
        let row_offsets = Tensor::from_slice(&[0i32, 3]);
        let attention = Attention { heads: 1, window: None, dropout: 0.0 };
        let error = flash_attention(&x, &x, &x, &row_offsets, 3, &attention).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("CUDA device"), "{error}");
    }

    /// Without a CUDA device, this test does nothing.
    #[test]
    fn results_on_a_gpu_equal_plain_operations() {
        if crate::resolve_device(crate::DeviceChoice::Cuda(0)).is_ok() {
            for window in [None, Some(8)] {
                let error = measure_error(Device::Cuda(0), Kind::BFloat16, 64, window).unwrap();
                assert!(error < TOLERANCE, "{window:?}: {error}");
            }
        }
    }
}
