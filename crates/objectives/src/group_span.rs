//! The span loss of a question over several windows.
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::{to_usize, upload};

use crate::checks::{check_int64, first_true_index, min_max};
use crate::span_checks::{check_span_logits, reduction_kind};
use crate::{Error, SpanReduction};

/// Options of [`group_span`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GroupSpanConfig {
    /// Combination of the start and end losses.
    pub reduction: SpanReduction,
    /// Conversion of logits to probabilities.
    pub normalization: GroupNormalization,
}

/// Conversion of the logits of a group to probabilities in [`group_span`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GroupNormalization {
    /// One softmax over the positions of all windows of the group: shared normalisation.
    #[default]
    Shared,
    /// A sigmoid of each logit, with the binary cross-entropy summed over the group's positions.
    Sigmoid,
}

/// Computes the span loss of questions with several windows each, in nats.
///
/// Source: Clark and Gardner 2018, *Simple and Effective Multi-Paragraph Reading Comprehension*,
/// section 3.3.
///
/// With [`GroupNormalization::Shared`] the start loss of a group is
/// `-ln(Σ_gold exp(x) / Σ_all exp(x))`, where `x` are the start logits of all windows of the group
/// and the first sum is over their gold start positions. Windows without the answer contribute to
/// the second sum only, so training makes logits comparable across windows. The end loss is
/// computed in the same way. Each loss is the mean over groups with at least one gold position. The
/// result is the sum of both losses, or their mean under [`SpanReduction::HalfSum`].
///
/// For groups of one window, the shared normalisation gives the loss of [`span`](crate::span()).
/// The paper's "no-answer" variant is [`span`](crate::span()) with position 0 (`<s>`) as the gold
/// position of windows without the answer.
///
/// # Shapes
/// - `start_logits`, `end_logits`: `[W, L]` Float, BFloat16, Half or Double, both of the same
///   dtype; receive gradient. Windows of groups without a gold position receive a gradient of
///   exactly 0
/// - `groups`: `[W]` i64, the group of each window; ids must not decrease, so that the windows of a
///   group are adjacent
/// - `start_positions`, `end_positions`: `[W]` i64, the gold positions of the answer's first and
///   last token; a position outside `0..L` means that the window does not contain the answer
/// - `context_mask`: `[W, L]` bool; positions that are false are excluded from the softmax and
///   receive no gradient (padding, the question)
/// - `groups`, positions and mask may be on the CPU
/// - returns `[]`: f64 for f64 logits, f32 for all others
///
/// # Errors
/// [`Error::Empty`] if no group has a gold start or no group has a gold end; [`Error::Range`] if
/// group ids decrease; [`Error::Excluded`] naming the window if the mask is false at a gold
/// position; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for
/// invalid tensors.
///
/// # Example
/// ```
/// use objectives::{GroupSpanConfig, group_span, tch::{Device, Kind, Tensor}};
///
/// let logits = Tensor::zeros([3, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let groups = Tensor::from_slice(&[0_i64, 0, 0]);
/// let starts = Tensor::from_slice(&[2_i64, -1, -1]); // -1: no answer in this window
/// let loss = group_span(
///     &logits, &logits, &groups, &starts, &starts, None, &GroupSpanConfig::default(),
/// )?;
/// assert!((loss.double_value(&[]) - 24_f64.ln()).abs() < 1e-6); // 3 windows of 8 positions
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn group_span(
    start_logits: &Tensor,
    end_logits: &Tensor,
    groups: &Tensor,
    start_positions: &Tensor,
    end_positions: &Tensor,
    context_mask: Option<&Tensor>,
    config: &GroupSpanConfig,
) -> Result<Tensor, Error> {
    let (window_count, _) = check_span_logits(start_logits, end_logits, context_mask)?;
    let device = start_logits.device();
    for (name, ids) in
        [("groups", groups), ("start_positions", start_positions), ("end_positions", end_positions)]
    {
        check_int64(name, ids, &[window_count], "[W]", "start_logits", device)?;
    }
    let group_ranges = group_ranges(groups)?;
    let loss_of = |positions_name, logits: &Tensor, positions: &Tensor| {
        let slots = WindowSlots::new(&group_ranges, positions_name, positions, logits)?;
        slots.loss(logits, context_mask, config)
    };
    let start = loss_of("start_positions", start_logits, start_positions)?;
    let sum = start.f_add(&loss_of("end_positions", end_logits, end_positions)?)?;
    match config.reduction {
        SpanReduction::Sum => Ok(sum),
        SpanReduction::HalfSum => Ok(sum.f_mul_scalar(0.5)?),
    }
}

/// The range of windows of each group.
fn group_ranges(groups: &Tensor) -> Result<Vec<Range<i64>>, Error> {
    let ids = Vec::<i64>::try_from(&groups.f_to_device(Device::Cpu)?)?;
    if !ids.is_sorted() {
        let rule =
            "at least as large as the previous value (windows of a group must be adjacent)".into();
        let (min, max) = min_max(groups)?;
        return Err(Error::Range { tensor: "groups", rule, min, max });
    }
    let mut group_ranges = Vec::new();
    let mut from = 0;
    for group_ids in ids.chunk_by(|a, b| a == b) {
        let to = group_ids.iter().fold(from, |to, _| to + 1);
        group_ranges.push(from..to);
        from = to;
    }
    Ok(group_ranges)
}

/// The windows of the G groups with a gold position, in M slots per group, where M is the size of
/// the largest group.
struct WindowSlots {
    positions_name: &'static str,
    group_count: i64,
    /// `[G * M]`: the index of the window; an unused slot contains the group's first window.
    windows: Vec<i64>,
    /// `[G * M]`: whether the slot is used.
    is_used: Vec<bool>,
    /// `[G * M]`: the gold position, 0 if there is none.
    gold: Vec<i64>,
    /// `[G * M]`: whether there is a gold position.
    has_gold: Vec<bool>,
}

impl WindowSlots {
    fn new(
        group_ranges: &[Range<i64>],
        positions_name: &'static str,
        positions: &Tensor,
        logits: &Tensor,
    ) -> Result<Self, Error> {
        let (_, length) = logits.size2()?;
        let positions = Vec::<i64>::try_from(&positions.f_to_device(Device::Cpu)?)?;
        let gold_position = |window: i64| {
            let position = positions[to_usize(window)];
            (0..length).contains(&position).then_some(position)
        };
        let groups_with_gold = group_ranges
            .iter()
            .filter(|range| (*range).clone().any(|window| gold_position(window).is_some()));
        let groups_with_gold: Vec<&Range<i64>> = groups_with_gold.collect();
        let Some(max_windows) = groups_with_gold.iter().map(|range| range.end - range.start).max()
        else {
            let reason = "no group has a window with its gold position";
            return Err(Error::Empty { tensor: positions_name, reason });
        };
        let mut slots = Self {
            positions_name,
            group_count: 0,
            windows: Vec::new(),
            is_used: Vec::new(),
            gold: Vec::new(),
            has_gold: Vec::new(),
        };
        for range in groups_with_gold {
            slots.group_count += 1;
            for window in range.start..range.start + max_windows {
                let is_used = range.contains(&window);
                let position = if is_used { gold_position(window) } else { None };
                slots.windows.push(if is_used { window } else { range.start });
                slots.is_used.push(is_used);
                // `has_gold` marks the slots whose position is used.
                slots.gold.push(position.unwrap_or(0));
                slots.has_gold.push(position.is_some());
            }
        }
        Ok(slots)
    }

    /// The mean loss of the groups.
    fn loss(
        &self,
        logits: &Tensor,
        context_mask: Option<&Tensor>,
        config: &GroupSpanConfig,
    ) -> Result<Tensor, Error> {
        let (device, (window_count, _)) = (logits.device(), logits.size2()?);
        let windows = Tensor::f_from_slice(&self.windows)?;
        let mut rows = match self.windows.iter().copied().eq(0..window_count) {
            true => logits.shallow_clone(),
            false => logits.f_index_select(0, &upload(&windows, device)?)?,
        };
        rows = rows.f_to_kind(reduction_kind(logits)?)?;
        if let Some(mask) = context_mask {
            let mask = mask.f_index_select(0, &upload(&windows, mask.device())?)?;
            self.check_mask(&mask)?;
            let is_excluded = upload(&mask.f_logical_not()?, device)?;
            rows = rows.f_masked_fill(&is_excluded, f64::NEG_INFINITY)?;
        }
        if self.is_used.contains(&false) {
            let unused = Tensor::f_from_slice(&self.is_used)?.f_logical_not()?.f_unsqueeze(1)?;
            rows = rows.f_masked_fill(&upload(&unused, device)?, f64::NEG_INFINITY)?;
        }
        let gold = upload(&Tensor::f_from_slice(&self.gold)?, device)?.f_unsqueeze(1)?;
        let without_gold = Tensor::f_from_slice(&self.has_gold)?.f_logical_not()?.f_unsqueeze(1)?;
        let without_gold = upload(&without_gold, device)?;
        let gold_logits = rows.f_gather(1, &gold, false)?; // [G * M, 1]
        let by_group = |values: &Tensor| values.f_view([self.group_count, -1]);
        let gold_logits = |fill: f64| -> Result<Tensor, Error> {
            Ok(gold_logits.f_masked_fill(&without_gold, fill)?)
        };
        let (total, gold) = match config.normalization {
            GroupNormalization::Shared => (
                by_group(&rows)?.f_logsumexp(1, false)?,
                by_group(&gold_logits(f64::NEG_INFINITY)?)?.f_logsumexp(1, false)?,
            ),
            // -ln σ(x) = -ln σ(-x) - x at the gold positions.
            GroupNormalization::Sigmoid => (
                by_group(&rows.f_neg()?.f_log_sigmoid()?)?
                    .f_sum_dim_intlist(1, false, None::<Kind>)?
                    .f_neg()?,
                by_group(&gold_logits(0.0)?)?.f_sum_dim_intlist(1, false, None::<Kind>)?,
            ),
        };
        Ok(total.f_sub(&gold)?.f_mean(None::<Kind>)?)
    }

    /// Checks that the mask `[G * M, L]` is true at the gold positions.
    fn check_mask(&self, mask: &Tensor) -> Result<(), Error> {
        let to_mask_device = |values: Tensor| upload(&values, mask.device());
        let gold = to_mask_device(Tensor::f_from_slice(&self.gold)?)?.f_unsqueeze(1)?;
        let allowed = mask.f_gather(1, &gold, false)?.f_squeeze_dim(1)?;
        let has_gold = to_mask_device(Tensor::f_from_slice(&self.has_gold)?)?;
        let excluded_gold = allowed.f_logical_not()?.f_logical_and(&has_gold)?;
        if let Some([slot]) = first_true_index(&excluded_gold)?.as_deref() {
            let position = gold.f_int64_value(&[*slot, 0])?;
            let row = self.windows[to_usize(*slot)];
            return Err(Error::Excluded { tensor: self.positions_name, row, position });
        }
        Ok(())
    }
}
