//! Cross-entropy `-ln softmax(logits)[target]` of rows of logits, shared by the losses.
use tch::{Kind, Reduction, Tensor};

use crate::{Error, IGNORE_INDEX};

/// The cross-entropy of each row, `[N]`, in nats: float32, or float64 for float64 logits.
///
/// The caller must have checked that `logits` is `[N, C]` and that every target `[N]` is in `0..C`.
pub(crate) fn row_losses(logits: &Tensor, targets: &Tensor) -> Result<Tensor, Error> {
    let logits = match logits.f_kind()? {
        Kind::Half | Kind::BFloat16 => &logits.f_to_kind(Kind::Float)?,
        _ => logits,
    };
    Ok(logits.f_cross_entropy_loss::<Tensor>(targets, None, Reduction::None, IGNORE_INDEX, 0.0)?)
}
