//! Cross-entropy of a linear layer's outputs, which are computed in chunks and never stored all at
//! once.
use tch::Tensor;

use crate::Result;
use crate::ffi::{self, make_tensor, raw_or_null};

/// Reduction of the rows' losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LossReduction {
    /// Mean over rows, `[]`; NaN without rows.
    #[default]
    Mean,
    /// Sum over rows, `[]`.
    Sum,
}

/// Options of [`linear_cross_entropy`].
#[derive(Clone, Copy, Debug)]
pub struct LinearCrossEntropy<'a> {
    /// Reduction of the rows' losses.
    pub reduction: LossReduction,
    /// `[N]` float: the weight of each row in the sum; receives no gradient. Only for
    /// [`LossReduction::Sum`].
    pub weights: Option<&'a Tensor>,
    /// Maximum number of rows per chunk. If `None`, each chunk has as many rows as fit in its
    /// buffer: 64 MiB on the CPU, 512 MiB on a GPU. If the weight requires a gradient, the logits
    /// of the first chunk are stored in the memory of this gradient, before the gradient is
    /// written.
    pub chunk_rows: Option<i64>,
}

/// Computes the mean or sum over rows of `-ln softmax(hidden · weightᵀ + bias)[target]` in nats.
/// Only one chunk of rows has its logits in memory at a time.
///
/// A custom autograd function computes the gradients chunk by chunk in the forward pass, from the
/// same logits as the loss, so a step needs only three matrix multiplications. The logits of the
/// first rows are stored in the memory of the weight's gradient before this gradient is written, so
/// up to H rows need no additional memory. Gradients are computed only for inputs that require
/// them. Second derivatives (`create_graph`) are not supported.
///
/// Under autocast, matrix multiplications use autocast's dtype. For bfloat16 and float16, softmax,
/// losses and the sums over chunks are computed in float32. Gradients are first multiplied by the
/// incoming gradient of the loss (the loss scale, if there is one), and then rounded once to the
/// inputs' dtypes.
///
/// # Shapes
/// - `hidden`: `[N, H]` float; `weight`: `[V, H]`, of `hidden`'s dtype unless autocast is on;
///   `bias`: `[V]` float
/// - `targets`: `[N]` i64 in `0..V`, **not checked here**
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) for shapes or dtypes that do not match.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use torch_ext::{LinearCrossEntropy, LossReduction, linear_cross_entropy};
///
/// let hidden = Tensor::zeros([3, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let weight = Tensor::ones([5, 8], (Kind::Float, Device::Cpu));
/// let reduction = LossReduction::Mean;
/// let options = LinearCrossEntropy { reduction, weights: None, chunk_rows: None };
/// let targets = Tensor::from_slice(&[0i64, 4, 1]);
/// let loss = linear_cross_entropy(&hidden, &weight, None, &targets, &options)?;
/// loss.backward();
/// assert!((loss.double_value(&[]) - 5f64.ln()).abs() < 1e-6);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
    options: &LinearCrossEntropy<'_>,
) -> Result<Tensor> {
    let mean = options.reduction == LossReduction::Mean;
    // SAFETY: live tensors or null; the shim checks shapes and dtypes and, on success, returns a
    // tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_linear_cross_entropy(
            hidden.as_ptr(),
            weight.as_ptr(),
            raw_or_null(bias),
            targets.as_ptr(),
            raw_or_null(options.weights),
            mean.into(),
            options.chunk_rows.unwrap_or(0),
            out,
            error,
        )
    })
}
