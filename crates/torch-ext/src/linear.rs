//! Linear layers, with whatever products `float32_matmul` allows.
use tch::Tensor;

use crate::Result;
use crate::ffi::{self, call};
use crate::packed::owned;

/// `x Wᵀ + b`, as libtorch has it, except where
/// [`MatmulPrecision::Bf16x3`](crate::MatmulPrecision::Bf16x3) or `Bf16x2` is in force: there
/// float32 layers on the CPU with 64 rows, 256 inputs and 256 outputs or more take its products, on
/// the way back too, and have no second derivative.
///
/// Under autocast it is libtorch's layer, which computes in autocast's dtype.
///
/// # Shapes
/// - `x`: `[.., I]`; `weight`: `[O, I]`; `bias`: `[O]`; returns `[.., O]`
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if shapes, dtypes or devices do not fit.
///
/// # Example
/// ```
/// use tch::Tensor;
///
/// let x = Tensor::from_slice(&[1f32, 2.0]).view([1, 2]);
/// let weight = Tensor::from_slice(&[3f32, 4.0]).view([1, 2]);
/// let out = torch_ext::linear(&x, &weight, Some(&Tensor::from_slice(&[0.5f32])))?;
/// assert_eq!(Vec::<f32>::try_from(out.view(-1)).unwrap(), [11.5]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let mut out = std::ptr::null_mut();
    // SAFETY: live tensors, or none for the bias; the shim checks them and, on success, hands over
    // a tensor that we own.
    call(|error| unsafe {
        let bias = bias.map_or(std::ptr::null(), |bias| bias.as_ptr());
        ffi::polyqa_linear(x.as_ptr(), weight.as_ptr(), bias, &mut out, error)
    })?;
    owned(out)
}
