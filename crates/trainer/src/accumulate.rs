//! One step over a batch too large for memory.
use tch::{Kind, Tensor};

use crate::{StepLosses, TaskError};

/// A named loss of a micro-batch, as its share of the full batch's.
pub struct Share {
    /// As the log names it.
    pub name: &'static str,
    /// The loss's weight in the sum of losses.
    pub weight: f64,
    /// `[]`, with graph: what this micro-batch adds to the loss of the full batch.
    pub loss: Tensor,
}

/// Runs the micro-batches of a step one after the other, each forward and backward, so that only
/// one graph exists at a time.
///
/// The result equals one large batch if `shares` returns shares: for a mean over the batch's n
/// targets, the micro-batch's *sum* over n, not its own mean. Means of micro-batches with unequal
/// numbers of targets would weigh their targets unequally. The number n must be known before the
/// first forward pass, so mask the full batch first.
///
/// Each backward pass goes through [`torch_ext::backward`], so float16's scale of the loss holds
/// here too.
///
/// A contrast whose negatives come from the batch cannot be cut like this; see
/// `objectives::cached_step`.
///
/// # Errors
/// Whatever `shares` returns, or libtorch's refusal.
///
/// # Example
/// ```
/// use tch::{Kind, Tensor};
/// use trainer::{Share, accumulate};
///
/// let weight = Tensor::from(2f64).set_requires_grad(true);
/// let parts = [vec![1.0, 2.0, 3.0], vec![6.0]];
/// let losses = accumulate(&parts, |part: &Vec<f64>| {
///     let sum = (Tensor::from_slice(part) * &weight).sum(Kind::Double);
///     Ok(vec![Share { name: "mean", weight: 1.0, loss: sum / 4.0 }])
/// })?;
/// assert_eq!((losses.total.double_value(&[]), weight.grad().double_value(&[])), (6.0, 3.0));
/// # Ok::<(), trainer::TaskError>(())
/// ```
pub fn accumulate<T>(
    micro_batches: &[T],
    mut shares: impl FnMut(&T) -> Result<Vec<Share>, TaskError>,
) -> Result<StepLosses, TaskError> {
    let mut total = Tensor::f_zeros([], (Kind::Double, tch::Device::Cpu))?;
    let mut parts: Vec<(&'static str, Tensor)> = Vec::new();
    for micro_batch in micro_batches {
        let mut sum: Option<Tensor> = None;
        for Share { name, weight, loss } in shares(micro_batch)? {
            let value = loss.f_detach()?.f_to_kind(Kind::Double)?;
            total = total.f_add(&value.f_mul_scalar(weight)?)?;
            match parts.iter_mut().find(|(known, _)| *known == name) {
                Some((_, part)) => *part = part.f_add(&value)?,
                None => parts.push((name, value)),
            }
            let weighted = loss.f_mul_scalar(weight)?;
            sum = Some(match sum {
                Some(sum) => sum.f_add(&weighted)?,
                None => weighted,
            });
        }
        if let Some(sum) = sum.filter(Tensor::requires_grad) {
            torch_ext::backward(&sum)?;
        }
    }
    Ok(StepLosses { total, parts, tokens: None, accumulated: true })
}
