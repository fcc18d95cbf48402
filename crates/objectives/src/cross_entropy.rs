//! Cross-entropy `-ln softmax(logits)[target]` of rows of logits, shared by the losses.
use tch::{Kind, Reduction, Tensor};

use crate::checks::first_true;
use crate::{Checks, Error, IGNORE_INDEX};

/// Options of [`row_losses`]: the origin of each row for error messages, and the level of
/// validation.
pub(crate) struct RowContext<'a> {
    /// Maps a row of the logits to the argument it was taken from, and to its row in that argument.
    pub origin: &'a dyn Fn(i64) -> Result<(&'static str, i64), Error>,
    /// Level of input validation.
    pub checks: Checks,
}

impl RowContext<'_> {
    fn not_finite(
        &self,
        logits: &Tensor,
        row: i64,
        column: i64,
        rule: &'static str,
    ) -> Result<(), Error> {
        let value = logits.f_double_value(&[row, column])?;
        let (tensor, row) = (self.origin)(row)?;
        Err(Error::NotFinite { tensor, index: vec![row, column], value, rule })
    }
}

/// The cross-entropy of each row, `[N]`, in nats: float32, or float64 for float64 logits.
///
/// The caller must have checked that `logits` is `[N, C]` and that every target `[N]` is in `0..C`.
pub(crate) fn row_losses(
    logits: &Tensor,
    targets: &Tensor,
    label_smoothing: f64,
    context: &RowContext<'_>,
) -> Result<Tensor, Error> {
    let logits = match logits.f_kind()? {
        Kind::Half | Kind::BFloat16 => &logits.f_to_kind(Kind::Float)?,
        _ => logits,
    };
    if context.checks == Checks::Full {
        let invalid = logits.f_isnan()?.f_logical_or(&logits.f_isposinf()?)?;
        if let Some([row, column]) = first_true(&invalid)?.as_deref() {
            let rule = "a logit must be a number or -inf; check the previous training step";
            context.not_finite(logits, *row, *column, rule)?;
        }
    }
    let losses = logits.f_cross_entropy_loss::<Tensor>(
        targets,
        None,
        Reduction::None,
        IGNORE_INDEX,
        label_smoothing,
    )?;
    if context.checks == Checks::Full
        && let Some([row]) = first_true(&losses.f_isfinite()?.f_logical_not()?)?.as_deref()
    {
        let rule = "the loss of this target is not finite; its logit must be finite";
        context.not_finite(logits, *row, targets.f_int64_value(&[*row])?, rule)?;
    }
    Ok(losses)
}
