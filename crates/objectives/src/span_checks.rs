//! Input validation shared by the functions on answer spans.
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::Error;
use crate::checks::{
    check_device, check_float, check_int64, check_kind, check_mask, check_matrix, check_shape,
    common_device, first_true_index,
};

/// Validates the logits and mask of a span head, and returns B and L.
pub(crate) fn check_span_logits(
    start_logits: &Tensor,
    end_logits: &Tensor,
    context_mask: Option<&Tensor>,
) -> Result<(i64, i64), Error> {
    let (batch, length) = check_matrix("start_logits", start_logits, "[B, L]")?;
    check_float("start_logits", start_logits)?;
    let (kind, device) = (start_logits.f_kind()?, start_logits.device());
    check_shape("end_logits", end_logits, &[batch, length], "[B, L]")?;
    check_kind("end_logits", end_logits, kind, "of start_logits")?;
    check_device("end_logits", end_logits, "start_logits", device)?;
    if let Some(mask) = context_mask {
        check_mask("context_mask", mask, &[batch, length], "[B, L]", "start_logits", device)?;
    }
    Ok((batch, length))
}

/// The dtype of softmax and reductions: float64 for float64, float32 for all others.
pub(crate) fn reduction_kind(tensor: &Tensor) -> Result<Kind, Error> {
    Ok(match tensor.f_kind()? {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    })
}

/// Rejects spans that end before they start, in rows or slots where `mask` is true.
pub(crate) fn check_order(
    tensor: &'static str,
    starts: &Tensor,
    ends: &Tensor,
    mask: &Tensor,
) -> Result<(), Error> {
    let reversed = ends.f_lt_tensor(starts)?.f_logical_and(mask)?;
    if let Some(index) = first_true_index(&reversed)? {
        let (start, end) = (starts.f_int64_value(&index)?, ends.f_int64_value(&index)?);
        return Err(Error::Reversed { tensor, index, start, end });
    }
    Ok(())
}

/// The gold spans of a batch, checked on the device of their tensors and copied to the target
/// device.
pub(crate) struct GoldSpans {
    /// `[B]` i64, 0 in rows without a gold span.
    pub starts: Tensor,
    /// `[B]` i64, 0 in rows without a gold span.
    pub ends: Tensor,
    /// `[B]` bool: whether start and end are in `0..L`.
    pub present: Tensor,
    /// `present`, on the device where the spans were checked.
    pub source_present: Tensor,
}

impl GoldSpans {
    /// Checks `gold_starts` and `gold_ends`; a row whose start or end is outside `0..length` has no
    /// gold span.
    pub fn new(
        gold_starts: &Tensor,
        gold_ends: &Tensor,
        batch: i64,
        length: i64,
        reference: &'static str,
        device: Device,
    ) -> Result<Self, Error> {
        let is_inside = |positions: &Tensor| -> Result<Tensor, Error> {
            Ok(positions.f_ge(0)?.f_logical_and(&positions.f_lt(length)?)?)
        };
        for (name, positions) in [("gold_starts", gold_starts), ("gold_ends", gold_ends)] {
            check_int64(name, positions, &[batch], "[B]", reference, device)?;
        }
        let source_device = common_device([gold_starts, gold_ends], device);
        let (starts, ends) =
            (upload(gold_starts, source_device)?, upload(gold_ends, source_device)?);
        let present = is_inside(&starts)?.f_logical_and(&is_inside(&ends)?)?;
        check_order("gold_ends", &starts, &ends, &present)?;
        let absent = present.f_logical_not()?;
        Ok(Self {
            starts: upload(&starts.f_masked_fill(&absent, 0)?, device)?,
            ends: upload(&ends.f_masked_fill(&absent, 0)?, device)?,
            present: upload(&present, device)?,
            source_present: present,
        })
    }

    /// The rows with a gold span, `[n]` i64, on the device where the spans were checked.
    pub fn row_indices(&self) -> Result<Tensor, Error> {
        Ok(self.source_present.f_nonzero()?.f_squeeze_dim(1)?)
    }
}
