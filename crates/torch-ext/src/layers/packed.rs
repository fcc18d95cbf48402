//! Attention and fused norm of packed rows on the CPU. Packed rows are concatenated without
//! padding.
//!
//! Each call draws a seed from libtorch's CPU generator. Each element of a dropout mask is a
//! function of this seed, the token's offset ([`token_offsets`](crate::token_offsets)) and the
//! element's index in the token's row of the mask. The backward pass recomputes masks, so masks are
//! not stored. Masks do not depend on the number of threads.
use tch::Tensor;

use crate::ffi::{self, make_tensor};
use crate::{Error, Result};

/// Options of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Attention {
    /// The number of heads.
    pub heads: i64,
    /// Attention window: each token attends to this number of tokens before it and after it, or to
    /// the whole row if `None`.
    pub window: Option<i64>,
    /// Dropout of attention weights, in `0..1`.
    pub dropout: f64,
}

impl Attention {
    /// Returns the window in the shim's format: -1 without a window.
    pub(crate) fn raw_window(&self) -> Result<i64> {
        match self.window {
            None => Ok(-1),
            Some(window) if window >= 0 => Ok(window),
            Some(window) => Err(Error::Libtorch(format!("window = {window}: must be 0 or more"))),
        }
    }
}

/// Computes self-attention of packed rows, `dropout(softmax(Q Kᵀ / √D)) V` for each row and head.
///
/// A thread processes one head of one row at a time, in blocks of 64 queries whose scores fit in
/// the core's cache. The backward pass recomputes the scores from query and key, so scores and
/// attention weights of whole rows are never stored. Blocks of scores outside the window
/// ([`Attention::window`]) are skipped. Matrix multiplications use the tensors' dtype if the
/// processor supports it, and sums are float32. The result does not depend on the number of
/// threads.
///
/// # Shapes
/// - `query`, `key`, `value`: `[N, heads * D]`, float32 or bfloat16 on the CPU, the concatenated
///   tokens of all rows; `lengths`: the number of tokens of each row, with sum N
/// - `offsets`: `[N]` i64 on the CPU ([`token_offsets`](crate::token_offsets))
/// - returns `[N, heads * D]`, of the same dtype
///
/// # Errors
/// [`Error::Libtorch`] if shapes, dtypes or devices do not match, a row is empty, `window` is below
/// 0, or `dropout` is outside `0..1`.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use torch_ext::{Attention, packed_attention, token_offsets};
///
/// let offsets = token_offsets(1, 3)?;
/// let value = Tensor::from_slice(&[2f32, 4.0, 7.0]).view([3, 1]);
/// let zeros = value.zeros_like(); // uniform attention: the mean of the visible values
/// let full = Attention { heads: 1, window: None, dropout: 0.0 };
/// let out = packed_attention(&zeros, &zeros, &value, &[2, 1], &offsets, &full)?;
/// assert_eq!(Vec::<f32>::try_from(out.view(-1)).unwrap(), [3.0, 3.0, 7.0]);
/// let local = Attention { window: Some(1), ..full };
/// let out = packed_attention(&zeros, &zeros, &value, &[3], &offsets, &local)?;
/// assert_eq!(Vec::<f32>::try_from(out.view(-1)).unwrap(), [3.0, 13.0 / 3.0, 5.5]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn packed_attention(
    query: &Tensor,
    key: &Tensor,
    value: &Tensor,
    lengths: &[i64],
    offsets: &Tensor,
    attention: &Attention,
) -> Result<Tensor> {
    let window = attention.raw_window()?;
    // SAFETY: live tensors and lengths; the shim checks shapes, dtypes and devices and, on success,
    // returns a tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_packed_attention(
            query.as_ptr(),
            key.as_ptr(),
            value.as_ptr(),
            lengths.as_ptr(),
            lengths.len(),
            offsets.as_ptr(),
            attention.heads,
            window,
            attention.dropout,
            out,
            error,
        )
    })
}

/// Computes `LayerNorm(dropout(x) + residual)` over the last dimension, in float32.
///
/// # Shapes
/// - `x`: `[N, H]` float; `residual`: `[N, H]` float32; `weight`, `bias`: `[H]` float32; `offsets`:
///   `[N]` i64; all on the CPU
/// - returns `[N, H]` float32
///
/// # Errors
/// [`Error::Libtorch`] if shapes, dtypes or devices do not match, or `dropout` is outside `0..1`.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
///
/// let options = (Kind::Float, Device::Cpu);
/// let (x, weight, bias) =
///     (Tensor::randn([5, 8], options), Tensor::ones([8], options), Tensor::zeros([8], options));
/// let offsets = torch_ext::token_offsets(1, 5)?;
/// let out = torch_ext::dropout_add_norm(&x, &x, &weight, &bias, &offsets, 1e-5, 0.0)?;
/// let want = (&x + &x).layer_norm([8], Some(&weight), Some(&bias), 1e-5, false);
/// assert!((out - want).abs().max().double_value(&[]) < 1e-5);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn dropout_add_norm(
    x: &Tensor,
    residual: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    offsets: &Tensor,
    eps: f64,
    dropout: f64,
) -> Result<Tensor> {
    // SAFETY: live tensors; the shim checks shapes, dtypes and devices and, on success, returns a
    // tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_dropout_add_norm(
            x.as_ptr(),
            residual.as_ptr(),
            weight.as_ptr(),
            bias.as_ptr(),
            offsets.as_ptr(),
            eps,
            dropout,
            out,
            error,
        )
    })
}
