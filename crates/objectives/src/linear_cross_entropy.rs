//! Chunked cross-entropy of a linear layer with a large output.
use tch::Tensor;
use torch_ext::{LossReduction, upload};

use crate::checks::{check_ids, check_int64};
use crate::{Error, IGNORE_INDEX, TokenScores};

/// Computes the mean cross-entropy of a linear layer without storing all its logits, in nats.
///
/// With `z = hidden · weightᵀ + bias`, the loss is the mean of `-ln softmax(zᵢ)[targets[i]]` over
/// the rows whose target is not [`IGNORE_INDEX`]. The gradient of all other rows is exactly 0.
///
/// Logits are computed for one chunk of rows at a time, and their gradients are computed
/// immediately afterwards. A step therefore needs only three matrix multiplications, the minimum
/// number. Values and gradients depend on the chunk size only by rounding. [`TokenScores::linear`]
/// uses the same kernel.
///
/// # Shapes
/// - `hidden`: `[N, H]` Float, BFloat16, Half or Double; receives gradient
/// - `weight`: `[V, H]`, of the same dtype unless autocast is on; receives gradient
/// - `bias`: `[V]` float; receives gradient
/// - `targets`: `[N]` i64, in `0..V` or [`IGNORE_INDEX`]
/// - returns `[]`: f64 for f64 inputs, f32 for all others
///
/// # Precision
/// Softmax, losses and the sums over chunks run in f32 (f64 for f64 inputs). Under autocast the
/// matrix multiplications run in the autocast dtype. bfloat16 rounds the logits to 8 bits: expect
/// losses within 2 % of float32 losses. float16 gradients are scaled by up to 8 between the matrix
/// multiplications: a weight above about 8,000 causes an overflow.
///
/// # Errors
/// [`Error::Empty`] if no row carries loss; [`Error::Range`] for a target that is neither in `0..V`
/// nor [`IGNORE_INDEX`]; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Source
/// *Bridging the Language Gap*, Eq. 1 and 2, *XLM-K*'s L_MLM and mixMRC's Eq. 2 use this loss.
/// Computing gradients in the forward pass follows Liger-Kernel.
///
/// # Example
/// ```
/// use objectives::linear_cross_entropy;
/// use objectives::tch::{Device, Kind, Tensor};
///
/// let hidden = Tensor::zeros([4, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let weight = Tensor::ones([1000, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let targets = Tensor::from_slice(&[7_i64, -100, 999, 0]);
/// let loss = linear_cross_entropy(&hidden, &weight, None, &targets)?;
/// assert!((loss.double_value(&[]) - 1000_f64.ln()).abs() < 1e-5); // equal logits: ln V
/// loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
) -> Result<Tensor, Error> {
    let layer = TokenScores::linear(hidden, weight, bias);
    let (count, vocabulary) = layer.checked_sizes()?;
    let device = hidden.device();
    check_int64("targets", targets, &[count], "[N]", "hidden", device)?;
    let index = targets.f_ne(IGNORE_INDEX)?.f_nonzero()?.f_squeeze_dim(1)?;
    let loss_row_count = index.size1()?;
    if loss_row_count == 0 {
        return Err(Error::Empty { tensor: "targets", reason: "no row carries loss" });
    }
    let (rows, targets) = if loss_row_count == count {
        (hidden.shallow_clone(), targets.shallow_clone())
    } else {
        (hidden.f_index_select(0, &upload(&index, device)?)?, targets.f_index_select(0, &index)?)
    };
    check_ids("targets", &targets, vocabulary, " (V of the weight) or -100")?;
    TokenScores::linear(&rows, weight, bias).loss(
        &upload(&targets, device)?,
        LossReduction::Mean,
        None,
    )
}
