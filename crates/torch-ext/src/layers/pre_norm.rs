//! Rotary position embeddings and gated feed-forward layers. The backward pass of each function
//! writes the gradients of all parts of its input into one tensor.
use tch::Tensor;

use crate::Result;
use crate::ffi::{self, call, into_tensor, make_tensor};

/// Splits a projection into queries, keys and values, and applies rotary position embeddings (Su et
/// al. 2021) to queries and keys.
///
/// A head `(a, b)` with halves a and b becomes `(a cos - b sin, b cos + a sin)`, computed in the
/// dtype of `cos`.
///
/// # Shapes
/// - `projected`: `[N, 3 * heads * D]` float, on any device: queries, keys and values, concatenated
/// - `cos`, `sin`: `[N, D / 2]` on the same device, float64 if `projected` is float64, else float32
/// - returns queries, keys and values, `[N, heads * D]` each, in the dtype of `projected`
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if shapes, dtypes or devices do not match, or D is
/// odd.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// let projected = Tensor::from_slice(&[1f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([1, 6]);
/// let (cos, sin) = (Tensor::from_slice(&[0f32]).view([1, 1]), Tensor::from_slice(&[1f32]));
/// let [query, key, value] = torch_ext::rotary(&projected, &cos, &sin.view([1, 1]), 1)?;
/// assert_eq!(Vec::<f32>::try_from(query.view(-1)).unwrap(), [-2.0, 1.0]); // a quarter turn
/// assert_eq!(Vec::<f32>::try_from(key.view(-1)).unwrap(), [-4.0, 3.0]);
/// assert_eq!(Vec::<f32>::try_from(value.view(-1)).unwrap(), [5.0, 6.0]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn rotary(projected: &Tensor, cos: &Tensor, sin: &Tensor, heads: i64) -> Result<[Tensor; 3]> {
    let mut out = [std::ptr::null_mut(); 3];
    // SAFETY: live tensors and space for three results; the shim checks shapes, dtypes and devices
    // and, on success, returns tensors that we own.
    call(|error| unsafe {
        let (projected, cos, sin) = (projected.as_ptr(), cos.as_ptr(), sin.as_ptr());
        ffi::polyqa_rotary(projected, cos, sin, heads, out.as_mut_ptr(), error)
    })?;
    let [query, key, value] = out;
    Ok([into_tensor(query)?, into_tensor(key)?, into_tensor(value)?])
}

/// Computes GeGLU (Shazeer 2020): `GELU(a) * b` of the halves a and b of the last dimension.
///
/// The input is `[.., 2 I]` float, the output `[.., I]`, on any device. GELU is exact.
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if the last dimension is odd or the dtype is not
/// float.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// let out = torch_ext::gated_gelu(&Tensor::from_slice(&[0f32, 100.0, 7.0, 0.5]).view([1, 4]))?;
/// assert_eq!(Vec::<f32>::try_from(out.view(-1)).unwrap(), [0.0, 50.0]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn gated_gelu(input: &Tensor) -> Result<Tensor> {
    // SAFETY: a live tensor; the shim checks it and, on success, returns a tensor that we own.
    make_tensor(|out, error| unsafe { ffi::polyqa_gated_gelu(input.as_ptr(), out, error) })
}
