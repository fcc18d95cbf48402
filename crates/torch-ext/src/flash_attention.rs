//! Attention of packed rows on a GPU, with libtorch's FlashAttention-2 (Dao 2023).
use std::sync::{Mutex, PoisonError};

use tch::{Device, Kind, Tensor};

use crate::ffi::{self, make};
use crate::{Attention, Result, seeded_randn};

/// Computes self-attention of packed rows like [`packed_attention`](crate::packed_attention), on a
/// GPU.
///
/// # Shapes
/// - `query`, `key`, `value`: `[N, heads * D]`, float16 or bfloat16 on a CUDA device, the tokens of
///   row 0 first, then those of row 1, and so on
/// - `cumulative`: `[rows + 1]` int32 on the same device, the start offsets of the rows, and N;
///   `longest`: the number of tokens of the longest row
/// - returns `[N, heads * D]`, of the same dtype
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if shapes, dtypes or devices do not fit, `dropout`
/// is outside `0..1`, or the GPU or the build of libtorch has no such kernel.
pub fn flash_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    cumulative: &Tensor,
    longest: i64,
    attention: &Attention,
) -> Result<Tensor> {
    let reach = attention.raw_reach()?;
    // SAFETY: live tensors; the shim checks shapes, dtypes and devices and, on success, returns a
    // tensor that we own.
    make(|out, error| unsafe {
        ffi::polyqa_flash_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            cumulative.as_ptr(),
            longest,
            attention.heads,
            reach,
            attention.dropout,
            out,
            error,
        )
    })
}

/// Device, dtype and shape of a use of [`flash_attention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashUse {
    /// The device.
    pub device: Device,
    /// The dtype.
    pub kind: Kind,
    /// The dimension of a head.
    pub depth: i64,
    /// Whether attention windows are also used.
    pub windows: bool,
}

/// Tests [`flash_attention`] and returns a description of the fault if its results are wrong or it
/// is unavailable. The test runs once per use, on two short rows, and compares outputs and
/// gradients with plain float32 operations.
///
/// It does not change the state of any random generator.
///
/// # Example
/// ```
/// use tch::{Device, Kind};
/// use torch_ext::{FlashUse, flash_attention_fault};
///
/// let wanted = FlashUse { device: Device::Cpu, kind: Kind::BFloat16, depth: 64, windows: false };
/// assert!(flash_attention_fault(wanted).is_some_and(|fault| fault.contains("CUDA device")));
/// ```
pub fn flash_attention_fault(wanted: FlashUse) -> Option<String> {
    static KNOWN: Mutex<Vec<(FlashUse, Option<String>)>> = Mutex::new(Vec::new());
    let FlashUse { device, kind, depth, windows } = wanted;
    if !matches!(device, Device::Cuda(_)) || !matches!(kind, Kind::Half | Kind::BFloat16) {
        return Some(format!(
            "half precision on a CUDA device is needed, not {kind:?} on {device:?}"
        ));
    }
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, fault)) = known.iter().find(|(known, _)| *known == wanted) {
        return fault.clone();
    }
    let reaches = if windows { vec![None, Some(8)] } else { vec![None] };
    let fault = reaches.into_iter().find_map(|reach| {
        let measure = || worst_error(device, kind, depth, reach);
        match tch::with_grad(|| crate::without_autocast(measure)).and_then(|worst| worst) {
            Ok(worst) if worst < TOLERANCE => None,
            Ok(worst) => Some(format!("libtorch's FlashAttention is off by {worst:.2}")),
            Err(error) => Some(format!("libtorch's FlashAttention: {error}")),
        }
    });
    known.push((wanted, fault.clone()));
    fault
}

/// Tolerance for outputs and gradients near 1 in bfloat16.
const TOLERANCE: f64 = 0.05;

/// Largest difference from plain float32 operations.
fn worst_error(device: Device, kind: Kind, depth: i64, reach: Option<i64>) -> Result<f64> {
    let (lengths, heads) = ([3i64, 40], 2i64);
    let attention = Attention { heads, reach, dropout: 0.0 };
    let total: i64 = lengths.iter().sum();
    let draw = |seed: i64| -> Result<Tensor> {
        Ok(seeded_randn(&[total, heads * depth], seed)?.f_to_device(device)?.f_to_kind(kind)?)
    };
    let (weight, start) = (draw(4)?.f_to_kind(Kind::Float)?, [draw(1)?, draw(2)?, draw(3)?]);
    let leaves = |kind: Kind| -> Result<Vec<Tensor>> {
        let leaf = |t: &Tensor| t.f_to_kind(kind)?.f_detach()?.f_set_requires_grad(true);
        Ok(start.iter().map(leaf).collect::<std::result::Result<_, _>>()?)
    };
    let mut results = Vec::new();
    for (flash, kind) in [(true, kind), (false, Kind::Float)] {
        let leaves = leaves(kind)?;
        let [query, key, value] = leaves.as_slice() else { return Ok(f64::INFINITY) };
        let out = if flash {
            let cumulative = Tensor::f_from_slice(&[0i32, 3, 43])?.f_to_device(device)?;
            flash_attention(query, key, value, &cumulative, 40, &attention)?
        } else {
            let (mut first, mut rows) = (0, Vec::new());
            for length in lengths {
                let part = |t: &Tensor| {
                    t.f_narrow(0, first, length)?.f_view([length, heads, depth])?.f_transpose(0, 1)
                };
                let scores = part(query)?.f_matmul(&part(key)?.f_transpose(1, 2)?)?;
                let mut scores = scores.f_div_scalar((depth as f64).sqrt())?;
                if let Some(reach) = reach {
                    let ones = Tensor::f_ones([length, length], (Kind::Bool, device))?;
                    let far = ones.f_triu(reach + 1)?.f_logical_or(&ones.f_tril(-reach - 1)?)?;
                    scores = scores.f_masked_fill(&far, f64::NEG_INFINITY)?;
                }
                let row = scores.f_softmax(-1, Kind::Float)?.f_matmul(&part(value)?)?;
                rows.push(row.f_transpose(0, 1)?.f_reshape([length, heads * depth])?);
                first += length;
            }
            Tensor::f_cat(&rows, 0)?
        };
        out.f_to_kind(Kind::Float)?.f_mul(&weight)?.f_sum(Kind::Float)?.f_backward()?;
        let mut found = vec![out.f_detach()?];
        for leaf in &leaves {
            found.push(leaf.f_grad()?);
        }
        results.push(found);
    }
    let [ours, theirs] = results.as_slice() else { return Ok(f64::INFINITY) };
    let mut worst = 0f64;
    for (a, b) in ours.iter().zip(theirs) {
        let off = a.f_to_kind(Kind::Float)?.f_sub(b)?.f_abs()?.f_max()?.f_double_value(&[])?;
        worst = if off.is_nan() { f64::INFINITY } else { worst.max(off) };
    }
    Ok(worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_has_no_such_kernel() {
        let x = Tensor::ones([3, 64], (Kind::BFloat16, Device::Cpu));
        let cumulative = Tensor::from_slice(&[0i32, 3]);
        let attention = Attention { heads: 1, reach: None, dropout: 0.0 };
        let error = flash_attention(&x, &x, &x, &cumulative, 3, &attention).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("CUDA device"), "{error}");
    }

    /// Nothing to see without a CUDA device.
    #[test]
    fn on_a_gpu_it_is_attention() {
        if crate::resolve_device(crate::DeviceChoice::Cuda(0)).is_ok() {
            for reach in [None, Some(8)] {
                let worst = worst_error(Device::Cuda(0), Kind::BFloat16, 64, reach).unwrap();
                assert!(worst < TOLERANCE, "{reach:?}: {worst}");
            }
        }
    }
}
