//! Lists of candidate spans, and the candidate set that contains the gold span.
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::checks::{check_ids, check_int64, check_mask, check_matrix, common_device};
use crate::span_checks::{GoldSpans, check_order};
use crate::{Error, IGNORE_INDEX, TopKSpans};

/// A list of spans per row, in descending order of score. The tensors are borrowed from
/// [`TopKSpans`] or [`AnswerCandidates`], or loaded from a file.
#[derive(Clone, Copy, Debug)]
pub struct CandidateSpans<'a> {
    /// `[B, M]` i64: the first token of each span, in `0..L` where `valid` is true.
    pub starts: &'a Tensor,
    /// `[B, M]` i64: the last token of each span, inclusive. Where `valid` is true, this token must
    /// be in `0..L` and not before the first token.
    pub ends: &'a Tensor,
    /// `[B, M]` bool: whether the slot holds a span.
    pub valid: &'a Tensor,
}

impl<'a> From<&'a TopKSpans> for CandidateSpans<'a> {
    fn from(spans: &'a TopKSpans) -> Self {
        Self { starts: &spans.starts, ends: &spans.ends, valid: &spans.valid }
    }
}

impl<'a> From<&'a AnswerCandidates> for CandidateSpans<'a> {
    fn from(candidates: &'a AnswerCandidates) -> Self {
        Self { starts: &candidates.starts, ends: &candidates.ends, valid: &candidates.valid }
    }
}

/// The validated spans of a batch on the target device, M per row. Empty slots contain 0.
pub(crate) struct CheckedSpans {
    pub slot_count: i64,
    pub starts: Tensor,
    pub ends: Tensor,
    pub valid: Tensor,
}

impl CandidateSpans<'_> {
    /// Validates the list against windows of `length` tokens, and copies it to `device`.
    /// `reference` is the name of an argument that is on `device`. The name is used in error
    /// messages.
    ///
    /// The check runs on the CPU if all three tensors are on the CPU, else on `device`.
    pub(crate) fn check_batch(
        &self,
        batch: i64,
        length: i64,
        reference: &'static str,
        device: Device,
    ) -> Result<CheckedSpans, Error> {
        let (_, slot_count) = check_matrix("candidates.starts", self.starts, "[B, M]")?;
        let shape = [batch, slot_count];
        check_int64("candidates.starts", self.starts, &shape, "[B, M]", reference, device)?;
        check_int64("candidates.ends", self.ends, &shape, "[B, M]", reference, device)?;
        check_mask("candidates.valid", self.valid, &shape, "[B, M]", reference, device)?;
        let source_device = common_device([self.starts, self.ends, self.valid], device);
        let valid = upload(self.valid, source_device)?;
        let empty = valid.f_logical_not()?;
        let zero_empty_slots = |positions: &Tensor| -> Result<Tensor, Error> {
            Ok(upload(positions, source_device)?.f_masked_fill(&empty, 0)?)
        };
        let (starts, ends) = (zero_empty_slots(self.starts)?, zero_empty_slots(self.ends)?);
        // Empty slots contain 0, which must be valid even for a window without tokens.
        let upper = length.max(1);
        let is_in_bounds = starts
            .f_ge(0)?
            .f_logical_and(&ends.f_lt(upper)?)?
            .f_logical_and(&starts.f_le_tensor(&ends)?)?;
        if is_in_bounds.f_all()?.f_int64_value(&[])? == 0 {
            for (name, positions) in [("candidates.starts", &starts), ("candidates.ends", &ends)] {
                check_ids(name, positions, upper, " (L of the window) where valid is true")?;
            }
            check_order("candidates.ends", &starts, &ends, &valid)?;
        }
        let to_device = |tensor: &Tensor| upload(tensor, device);
        Ok(CheckedSpans {
            slot_count,
            starts: to_device(&starts)?,
            ends: to_device(&ends)?,
            valid: to_device(&valid)?,
        })
    }
}

/// The candidate set Z of each row, including the gold span; returned by [`answer_candidates`].
#[derive(Debug)]
#[non_exhaustive]
pub struct AnswerCandidates {
    /// `[B, K]` i64: the first token of each candidate, 0 in empty slots.
    pub starts: Tensor,
    /// `[B, K]` i64: the last token of each candidate, inclusive, 0 in empty slots.
    pub ends: Tensor,
    /// `[B, K]` bool: whether the slot holds a candidate.
    pub valid: Tensor,
    /// `[B]` i64: the slot of the gold span, [`IGNORE_INDEX`] in rows without a gold span.
    pub gold_index: Tensor,
}

/// Builds the candidate set Z of *From Good to Best* (footnote 1): the best spans of each row, with
/// the gold span included exactly once.
///
/// Interpretation: candidates are compared by position, so a span with the gold text at another
/// position is not removed. If the list contains the gold span, the gold span keeps its slot.
/// Otherwise, the gold span is written to the first empty slot or, in a full list, replaces the
/// last span. A gold span may be longer than the decoder's maximum answer length. The lists of rows
/// without a gold span do not change.
///
/// # Shapes
/// - `spans`: tensors `[B, K]`, K ≥ 1, as returned by [`top_k_spans`](crate::top_k_spans())
/// - `gold_starts`, `gold_ends`: `[B]` i64, the last token inclusive. A row has no gold span if its
///   start or end is outside `0..length`
/// - `length`: L, tokens per window
/// - returns tensors `[B, K]` on the device of `spans`
///
/// # Errors
/// [`Error::Empty`] if K = 0; [`Error::Range`] if a span extends outside the window;
/// [`Error::Reversed`] if a span or a gold span ends before it starts; [`Error::Shape`],
/// [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::{CandidateSpans, answer_candidates, tch::{Kind, Tensor}};
///
/// let row = |values: &[i64]| Tensor::from_slice(values).view([1, -1]);
/// let (starts, ends) = (row(&[1, 0, 1]), row(&[2, 0, 1]));
/// let valid = starts.ones_like().to_kind(Kind::Bool);
/// let spans = CandidateSpans { starts: &starts, ends: &ends, valid: &valid };
/// let (gold_start, gold_end) = (Tensor::from_slice(&[2_i64]), Tensor::from_slice(&[2_i64]));
/// let z = answer_candidates(&spans, &gold_start, &gold_end, 3)?;
/// assert_eq!(Vec::<i64>::try_from(z.starts.view([-1]))?, [1, 0, 2]); // 2..=2 replaces the last
/// assert_eq!(z.gold_index.int64_value(&[0]), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn answer_candidates(
    spans: &CandidateSpans<'_>,
    gold_starts: &Tensor,
    gold_ends: &Tensor,
    length: i64,
) -> Result<AnswerCandidates, Error> {
    const STARTS: &str = "candidates.starts";
    let (batch, _) = check_matrix(STARTS, spans.starts, "[B, M]")?;
    let device = spans.starts.device();
    let CheckedSpans { slot_count, starts, ends, valid } =
        spans.check_batch(batch, length, STARTS, device)?;
    if slot_count == 0 {
        return Err(Error::Empty { tensor: STARTS, reason: "no slot for the gold span (K = 0)" });
    }
    let gold = GoldSpans::new(gold_starts, gold_ends, batch, length, STARTS, device)?;
    let gold_start = gold.starts.f_unsqueeze(1)?; // [B, 1]
    let gold_end = gold.ends.f_unsqueeze(1)?;
    let present = gold.present.f_unsqueeze(1)?;
    let column = Tensor::f_arange(slot_count, (Kind::Int64, device))?.f_unsqueeze(0)?; // [1, K]
    // For each row, the first column where the mask is true; an arbitrary column if the whole row
    // is false.
    let first_true_column = |mask: &Tensor| -> Result<Tensor, Error> {
        Ok(mask.f_mul(&column.f_neg()?.f_add_scalar(slot_count)?)?.f_argmax(1, true)?)
    };
    let equals_gold =
        starts.f_eq_tensor(&gold_start)?.f_logical_and(&ends.f_eq_tensor(&gold_end)?)?;
    let is_gold = equals_gold.f_logical_and(&present)?.f_logical_and(&valid)?; // [B, K]
    let list_has_gold = is_gold.f_any_dim(1, true)?; // [B, 1]
    let is_full = valid.f_all_dim(1, true)?;
    let insertion_slot =
        first_true_column(&valid.f_logical_not()?)?.f_masked_fill(&is_full, slot_count - 1)?;
    // `[B, 1]`: the slot of the gold span, in rows with a gold span.
    let gold_slot = first_true_column(&is_gold)?.f_where_self(&list_has_gold, &insertion_slot)?;
    let is_inserted = column.f_eq_tensor(&gold_slot)?.f_logical_and(&present)?;
    let valid = valid.f_logical_and(&is_gold.f_logical_not()?)?.f_logical_or(&is_inserted)?;
    let empty = valid.f_logical_not()?;
    let insert_gold = |gold: &Tensor, list: &Tensor| {
        gold.f_where_self(&is_inserted, list)?.f_masked_fill(&empty, 0)
    };
    Ok(AnswerCandidates {
        starts: insert_gold(&gold_start, &starts)?,
        ends: insert_gold(&gold_end, &ends)?,
        valid,
        gold_index: gold_slot
            .f_masked_fill(&present.f_logical_not()?, IGNORE_INDEX)?
            .f_squeeze_dim(1)?,
    })
}
