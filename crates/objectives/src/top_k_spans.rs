//! The best answer spans of each row by start and end logits.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::Error;
use crate::span_checks::{check_span_logits, reduction_kind};

/// Options of [`top_k_spans`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TopKConfig {
    /// k, the number of spans per row. *From Good to Best* uses 20 for its candidates Z, and 50 for
    /// its list A of contrasted answers.
    pub k: usize,
    /// Maximum span length in tokens, both ends included. `None` means no limit; in TOML, set a
    /// value of at least the window length L instead.
    pub max_answer_len: Option<usize>,
}

impl Default for TopKConfig {
    fn default() -> Self {
        Self { k: 20, max_answer_len: Some(30) }
    }
}

/// The k best spans of each row, best first; returned by [`top_k_spans`].
///
/// A row with fewer than k spans is padded with start 0, end 0, score −∞ and valid false.
#[derive(Debug)]
#[non_exhaustive]
pub struct TopKSpans {
    /// `[B, k]` i64: the first token of each span.
    pub starts: Tensor,
    /// `[B, k]` i64: the last token of each span, inclusive.
    pub ends: Tensor,
    /// `[B, k]`: start logit + end logit; f64 for f64 logits, f32 for all others.
    pub scores: Tensor,
    /// `[B, k]` bool: whether the slot holds a span. Slots with a span come first.
    pub valid: Tensor,
}

/// Finds the k spans of each row with the highest `start_logits[s] + end_logits[e]`.
///
/// A span must have `s ≤ e < s + max_answer_len` and both ends in the context. The result is exact
/// and has no gradient.
///
/// The result is used for the candidate set Z and the answer list A of *From Good to Best*. Unlike
/// the usual n-best list of extractive decoding, it is not restricted to the n best starts and
/// ends.
///
/// Interpretation: ties are broken by the lower start, then the lower end, so that the result does
/// not depend on the device. A span whose score is −∞ has probability 0 and is not a candidate.
/// bfloat16 and float16 logits are converted to f32 before they are added.
///
/// The cost is one pass over a band of `B · L · max_answer_len` scores and a partial selection, not
/// a sort of all `B · L · L` scores.
///
/// # Shapes
/// - `start_logits`, `end_logits`: `[B, L]` Float, BFloat16, Half or Double, both of the same dtype
/// - `context_mask`: `[B, L]` bool, which may be on the CPU; no span starts or ends where it is
///   false. Without a mask every position is allowed, including padding
/// - returns `[B, k]` tensors on the device of the logits
///
/// # Errors
/// [`Error::Domain`] if `k` or `max_answer_len` is 0; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors. A NaN score is ranked first, as
/// in libtorch's sort.
///
/// # Example
/// ```
/// use objectives::{TopKConfig, tch::Tensor, top_k_spans};
///
/// let start = Tensor::from_slice(&[1_f32, 4.0, 0.0]).view([1, 3]);
/// let end = Tensor::from_slice(&[3_f32, 0.0, 2.0]).view([1, 3]);
/// let spans = top_k_spans(&start, &end, None, &TopKConfig { k: 3, ..Default::default() })?;
/// // 4 + 2, then the tied 1 + 3 and 4 + 0 by lower start. 4 + 3 would end before its start.
/// assert_eq!(Vec::<i64>::try_from(spans.starts.view([-1]))?, [1, 0, 1]);
/// assert_eq!(Vec::<i64>::try_from(spans.ends.view([-1]))?, [2, 0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn top_k_spans(
    start_logits: &Tensor,
    end_logits: &Tensor,
    context_mask: Option<&Tensor>,
    config: &TopKConfig,
) -> Result<TopKSpans, Error> {
    let (batch, length) = check_span_logits(start_logits, end_logits, context_mask)?;
    let k = positive_count("k", config.k)?;
    let width = match config.max_answer_len {
        Some(tokens) => positive_count("max_answer_len", tokens)?.min(length),
        None => length,
    };
    let (kind, device) = (reduction_kind(start_logits)?, start_logits.device());
    let span_count = k.min(length * width);
    if batch == 0 || span_count == 0 {
        return pad_to_k(&TopKSpans::empty(batch, kind, device)?, k);
    }
    let is_outside = match context_mask {
        Some(mask) => upload(mask, device)?.f_logical_not()?,
        None => Tensor::f_zeros([1, length], (Kind::Bool, device))?,
    };
    let mask_outside = |logits: &Tensor| -> Result<Tensor, Error> {
        let logits = logits.f_detach()?.f_to_kind(kind)?;
        Ok(logits.f_masked_fill(&is_outside, f64::NEG_INFINITY)?)
    };
    let (start, end) = (mask_outside(start_logits)?, mask_outside(end_logits)?);
    // Entry (s, j) is the score of the span from s to s + j. After flattening, its column is s ·
    // width + j, so columns are ordered by start, then by end.
    let unfold = |row: &Tensor, fill: f64| -> Result<Tensor, Error> {
        Ok(row.f_pad([0, width - 1], "constant", fill)?.f_unfold(1, width, 1)?)
    };
    let mut scores = start.f_unsqueeze(2)?.f_add(&unfold(&end, f64::NEG_INFINITY)?)?; // [B, L, W]
    let is_excluded = is_outside.f_unsqueeze(2)?.f_logical_or(&unfold(&is_outside, 1.0)?)?;
    let scores = scores.f_masked_fill_(&is_excluded, f64::NEG_INFINITY)?.f_view([batch, -1])?;

    let columns = best_columns(&scores, span_count)?; // [B, span_count]
    let best_scores = scores.f_gather(1, &columns, false)?;
    let valid = best_scores.f_ne(f64::NEG_INFINITY)?;
    let columns = columns.f_masked_fill(&valid.f_logical_not()?, 0)?;
    let starts = columns.f_floor_divide_scalar(width)?;
    let ends = starts.f_add(&columns.f_remainder(width)?)?;
    pad_to_k(&TopKSpans { starts, ends, scores: best_scores, valid }, k)
}

/// The columns of the `k` largest entries of each row in descending order, ties by ascending
/// column. NaN is treated as the largest value.
fn best_columns(scores: &Tensor, k: i64) -> Result<Tensor, Error> {
    let (batch, _) = scores.size2()?;
    let keys = scores.f_nan_to_num(f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY)?;
    // The values that libtorch's `topk` returns are correct. If several entries are tied for the
    // smallest of these values, it is unspecified which of them `topk` selects, so only the values
    // are used.
    let threshold = keys.f_topk(k, 1, true, false)?.0.f_amin(1, true)?; // [B, 1]
    let is_above = keys.f_gt_tensor(&threshold)?;
    let is_equal = keys.f_eq_tensor(&threshold)?;
    let tie_count = is_above.f_sum_dim_intlist(1, true, Kind::Int)?.f_neg()?.f_add_scalar(k)?; // [B, 1]
    let selected_ties = is_equal.f_cumsum(1, Kind::Int)?.f_le_tensor(&tie_count)?;
    let selected = is_above.f_logical_or(&is_equal.f_logical_and(&selected_ties)?)?; // k per row
    let columns = match selected.device() {
        Device::Cpu => selected.f_nonzero()?.f_select(1, 1)?.f_view([batch, k])?,
        _ => true_columns(&selected, k)?,
    };
    let order = keys.f_gather(1, &columns, false)?.f_argsort_stable(true, 1, true)?;
    Ok(columns.f_gather(1, &order, false)?)
}

/// The columns of the `k` true entries of each row, in ascending order. Unlike `nonzero`, this does
/// not wait for a GPU to count the entries.
fn true_columns(selected: &Tensor, k: i64) -> Result<Tensor, Error> {
    let (_, width) = selected.size2()?;
    let column =
        Tensor::f_arange(width, (Kind::Int64, selected.device()))?.f_expand_as(selected)?;
    let column_or_width = column.f_masked_fill(&selected.f_logical_not()?, width)?;
    Ok(column_or_width.f_topk(k, 1, false, true)?.0)
}

impl TopKSpans {
    /// Creates an instance without spans.
    fn empty(batch: i64, kind: Kind, device: Device) -> Result<Self, Error> {
        let zero_columns = |kind| Tensor::f_zeros([batch, 0], (kind, device));
        Ok(Self {
            starts: zero_columns(Kind::Int64)?,
            ends: zero_columns(Kind::Int64)?,
            scores: zero_columns(kind)?,
            valid: zero_columns(Kind::Bool)?,
        })
    }
}

/// Pads the spans to k slots.
fn pad_to_k(spans: &TopKSpans, k: i64) -> Result<TopKSpans, Error> {
    let (_, span_count) = spans.starts.size2()?;
    let pad = |tensor: &Tensor, filler: f64| tensor.f_pad([0, k - span_count], "constant", filler);
    Ok(TopKSpans {
        starts: pad(&spans.starts, 0.0)?,
        ends: pad(&spans.ends, 0.0)?,
        scores: pad(&spans.scores, f64::NEG_INFINITY)?,
        valid: pad(&spans.valid, 0.0)?,
    })
}

/// Converts an option to i64. The option must be at least 1.
fn positive_count(option: &'static str, count: usize) -> Result<i64, Error> {
    if count == 0 {
        return Err(Error::Domain { option, value: 0.0, rule: "at least 1" });
    }
    // A count that exceeds i64 exceeds every number of spans.
    Ok(i64::try_from(count).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn true_columns_equal_nonzero() {
        tch::manual_seed(4);
        for (batch, width, k) in [(5, 23, 7), (1, 4, 4), (3, 9, 1)] {
            let scores = Tensor::rand([batch, width], (Kind::Float, Device::Cpu));
            let (_, best) = scores.topk(k, 1, true, false);
            let selected = scores.zeros_like().scatter_value(1, &best, 1.0).to_kind(Kind::Bool);
            let expected = selected.nonzero().select(1, 1).view([batch, k]);
            assert_eq!(true_columns(&selected, k).unwrap(), expected);
        }
    }
}
