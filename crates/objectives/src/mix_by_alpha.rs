//! The weighted sum of a contrastive and a span loss.
use tch::Tensor;

use crate::Error;
use crate::checks::{check_device, check_float, check_shape};

/// Computes `alpha · contrastive + (1 - alpha) · hard` (*From Good to Best*, Eq. 9).
///
/// The paper's α is 0.5. A loss with weight 0 is not part of the sum and receives no gradient.
///
/// Interpretation: the paper gives no equations for the ablations of Table 7. Without hard
/// learning, Eq. 9 does not train the span head, so pass the span loss
/// ([`SpanReduction::Sum`](crate::SpanReduction::Sum)) as `hard`. Without contrastive learning,
/// only the span term remains, with weight 1: set `alpha` to 0.
///
/// # Shapes
/// - `contrastive`: `[]`, the loss of [`answer_contrast`](crate::answer_contrast())
/// - `hard`: `[]`, the loss of [`hard_learning`](crate::hard_learning()), on the same device
/// - returns `[]`
///
/// # Errors
/// [`Error::Domain`] unless `alpha` is in `[0, 1]`; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid losses.
///
/// # Example
/// ```
/// use objectives::{mix_by_alpha, tch::Tensor};
///
/// let mixed = mix_by_alpha(&Tensor::from(4_f32), &Tensor::from(2_f32), 0.25)?;
/// assert_eq!(mixed.double_value(&[]), 2.5);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn mix_by_alpha(contrastive: &Tensor, hard: &Tensor, alpha: f64) -> Result<Tensor, Error> {
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::Domain { option: "alpha", value: alpha, rule: "in [0, 1]" });
    }
    for (name, loss) in [("contrastive", contrastive), ("hard", hard)] {
        check_shape(name, loss, &[], "[]")?;
        check_float(name, loss)?;
        check_device(name, loss, "contrastive", contrastive.device())?;
    }
    let weighted = |loss: &Tensor, weight: f64| loss.f_mul_scalar(weight);
    Ok(match alpha {
        0.0 => weighted(hard, 1.0)?,
        1.0 => weighted(contrastive, 1.0)?,
        _ => weighted(contrastive, alpha)?.f_add(&weighted(hard, 1.0 - alpha)?)?,
    })
}
