//! The log-probability of answer spans.
use tch::Tensor;
use torch_ext::upload;

use crate::Error;
use crate::checks::{check_ids, check_int64};
use crate::span_checks::{check_span_logits, reduction_kind};

/// Computes the log-probability of answer spans (*From Good to Best*, Eq. 2), in nats.
///
/// `log_probs[b, k] = ln P_s(starts[b, k]) + ln P_e(ends[b, k])`, where `P_s` and `P_e` are the
/// softmax of the start and the end logits over the window.
///
/// Interpretation: start and end are independent, as in [`span`](crate::span()): spans that end
/// before they start keep their share of the probability. For the gold span, `-log_probs` equals
/// the span loss under [`SpanReduction::Sum`](crate::SpanReduction::Sum).
///
/// # Shapes
/// - `start_logits`, `end_logits`: `[B, L]` Float, BFloat16, Half or Double, both of the same
///   dtype; receive gradient
/// - `starts`, `ends`: `[B, K]` i64, in `0..L`: the first and the last token of each span, for
///   example from [`TopKSpans`](crate::TopKSpans) or [`AnswerCandidates`](crate::AnswerCandidates)
/// - `context_mask`: `[B, L]` bool; false positions are excluded from the softmax and receive no
///   gradient, regardless of their values
/// - returns `[B, K]`: f64 for f64 logits, f32 for all others (softmax and sum use this dtype). The
///   value is −∞ for spans that start or end at a masked position, and NaN in a fully masked row:
///   exclude such slots, for example with `valid` of [`hard_learning`]
///
/// [`hard_learning`]: crate::hard_learning()
///
/// Positions and mask may be on the CPU, where they are read without waiting for a GPU.
///
/// # Errors
/// [`Error::Range`] if a position is outside `0..L`; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::{span_log_probs, tch::{Device, Kind, Tensor}};
///
/// let logits = Tensor::zeros([1, 8], (Kind::Float, Device::Cpu));
/// let starts = Tensor::from_slice(&[2_i64, 5]).view([1, 2]);
/// let ends = Tensor::from_slice(&[3_i64, 5]).view([1, 2]);
/// let log_probs = span_log_probs(&logits, &logits, &starts, &ends, None)?;
/// // Equal logits: probability 1/8 for the start and for the end.
/// assert!((log_probs.double_value(&[0, 1]) + 2.0 * 8_f64.ln()).abs() < 1e-6);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn span_log_probs(
    start_logits: &Tensor,
    end_logits: &Tensor,
    starts: &Tensor,
    ends: &Tensor,
    context_mask: Option<&Tensor>,
) -> Result<Tensor, Error> {
    let (batch, length) = check_span_logits(start_logits, end_logits, context_mask)?;
    let device = start_logits.device();
    let slots = crate::checks::check_matrix("starts", starts, "[B, K]")?.1;
    for (name, positions) in [("starts", starts), ("ends", ends)] {
        check_int64(name, positions, &[batch, slots], "[B, K]", "start_logits", device)?;
        if positions.numel() > 0 {
            check_ids(name, positions, length, " (L of the logits)")?;
        }
    }
    let kind = reduction_kind(start_logits)?;
    let (starts, ends) = (upload(starts, device)?, upload(ends, device)?);
    let is_excluded = match context_mask {
        Some(mask) => Some(upload(mask, device)?.f_logical_not()?),
        None => None,
    };
    let position_log_probs = |logits: &Tensor, positions: &Tensor| -> Result<Tensor, Error> {
        let mut logits = logits.f_to_kind(kind)?;
        if let Some(is_excluded) = &is_excluded {
            logits = logits.f_masked_fill(is_excluded, f64::NEG_INFINITY)?;
        }
        Ok(logits.f_log_softmax(1, None)?.f_gather(1, positions, false)?)
    };
    let start = position_log_probs(start_logits, &starts)?;
    Ok(start.f_add(&position_log_probs(end_logits, &ends)?)?)
}
