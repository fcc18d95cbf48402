//! The span loss of extractive question answering.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::Error;
use crate::checks::{check_int64, common_device, first_true_index, min_max};
use crate::cross_entropy::row_losses;
use crate::span_checks::check_span_logits;

/// Options of [`span`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanConfig {
    /// Combination of the start and end losses.
    pub reduction: SpanReduction,
    /// Treatment of gold positions outside the window.
    pub out_of_window: OutOfWindow,
}

/// Combination of the start and end losses in [`span`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanReduction {
    /// `(start + end) / 2`, as in the question-answering models of `transformers`.
    #[default]
    HalfSum,
    /// `start + end`, as in *From Good to Best*, Eq. 3.
    Sum,
}

/// Treatment of gold positions outside `0..L` in [`span`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfWindow {
    /// The position carries no loss: the answer is outside this window. `transformers` also ignores
    /// positions ≥ L, but changes negative positions to 0, the `<s>` token. To reproduce this
    /// behaviour, pass 0 instead of negative positions.
    #[default]
    Ignore,
    /// An error: every row must contain its answer.
    Reject,
}

/// Computes the span loss of extractive QA, in nats.
///
/// With `S = softmax(start_logits)` and `E = softmax(end_logits)` over the window, the loss is
/// `-mean_b ln S[b, s_b] - mean_b ln E[b, e_b]`, halved under [`SpanReduction::HalfSum`].
///
/// *Bridging the Language Gap* (§III-C) uses this loss without a numbered equation; *From Good to
/// Best* states it in Eq. 2 and 3.
///
/// Interpretation: start and end are independent, and spans with `e < s` keep their probability.
/// The start loss is the mean over the rows with the gold start in the window, and the end loss is
/// the mean over the rows with the gold end in the window.
///
/// # Shapes
/// - `start_logits`, `end_logits`: `[B, L]` Float, BFloat16, Half or Double, both of the same
///   dtype; receive gradient. Rows that carry no loss receive a gradient of exactly 0, regardless
///   of their values
/// - `start_positions`, `end_positions`: `[B]` i64, the gold positions of the answer's first and
///   last token
/// - `context_mask`: `[B, L]` bool; false positions are excluded from the softmax and receive no
///   gradient (padding, the question). Set `<s>` to true if it represents "no answer"
/// - returns `[]`: f64 for f64 logits, f32 for all others (softmax and reduction use this dtype)
///
/// # Errors
/// [`Error::Empty`] if no row has its start in the window or no row has its end in the window;
/// [`Error::Excluded`] naming the row if the mask is false at a gold position in the window;
/// [`Error::Range`] under [`OutOfWindow::Reject`]; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::{SpanConfig, span, tch::{Device, Kind, Tensor}};
///
/// let logits = Tensor::zeros([2, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let starts = Tensor::from_slice(&[2_i64, 99]); // 99: not in this window
/// let ends = Tensor::from_slice(&[3_i64, 99]);
/// let loss = span(&logits, &logits, &starts, &ends, None, &SpanConfig::default())?;
/// assert!((loss.double_value(&[]) - 8_f64.ln()).abs() < 1e-6); // equal logits: ln L
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn span(
    start_logits: &Tensor,
    end_logits: &Tensor,
    start_positions: &Tensor,
    end_positions: &Tensor,
    context_mask: Option<&Tensor>,
    config: &SpanConfig,
) -> Result<Tensor, Error> {
    let (batch, _) = check_span_logits(start_logits, end_logits, context_mask)?;
    let device = start_logits.device();
    for (name, positions) in
        [("start_positions", start_positions), ("end_positions", end_positions)]
    {
        check_int64(name, positions, &[batch], "[B]", "start_logits", device)?;
    }
    let gold_rows = |positions_name, logits, positions| {
        GoldRows::new(positions_name, logits, positions, context_mask, config)
    };
    let start = gold_rows("start_positions", start_logits, start_positions)?;
    let end = gold_rows("end_positions", end_logits, end_positions)?;
    // Start and end are concatenated because on a GPU a kernel or a copy takes about the same time
    // for twice as many rows.
    let concatenate = |start: &Tensor, end: &Tensor| -> Result<Tensor, Error> {
        let source_device = common_device([start, end], device);
        let concatenated =
            Tensor::f_cat(&[upload(start, source_device)?, upload(end, source_device)?], 0)?;
        Ok(upload(&concatenated, device)?)
    };
    let mut logits = concatenate(&start.logits, &end.logits)?;
    if let (Some(start), Some(end)) = (&start.is_excluded, &end.is_excluded) {
        logits = logits.f_masked_fill(&concatenate(start, end)?, f64::NEG_INFINITY)?;
    }
    let losses = row_losses(&logits, &concatenate(&start.gold, &end.gold)?)?;
    let split_losses = losses.f_split_with_sizes([start.gold.size1()?, end.gold.size1()?], 0)?;
    let means = split_losses.iter().map(|losses| losses.f_mean(None::<Kind>));
    let sum = Tensor::f_stack(&means.collect::<Result<Vec<_>, _>>()?, 0)?.f_sum(None::<Kind>)?;
    match config.reduction {
        SpanReduction::Sum => Ok(sum),
        SpanReduction::HalfSum => Ok(sum.f_mul_scalar(0.5)?),
    }
}

/// The n rows with a gold start (or end) position inside the window.
struct GoldRows {
    /// `[n]` i64: the gold position of each row, on the device of the positions.
    gold: Tensor,
    /// `[n, L]`: the logits of each row.
    logits: Tensor,
    /// `[n, L]` bool: positions excluded from the softmax.
    is_excluded: Option<Tensor>,
}

impl GoldRows {
    fn new(
        positions_name: &'static str,
        logits: &Tensor,
        positions: &Tensor,
        context_mask: Option<&Tensor>,
        config: &SpanConfig,
    ) -> Result<Self, Error> {
        let (batch, length) = logits.size2()?;
        let is_inside = positions.f_ge(0)?.f_logical_and(&positions.f_lt(length)?)?;
        let rows_with_loss = is_inside.f_nonzero()?.f_squeeze_dim(1)?;
        let count = rows_with_loss.size1()?;
        if count < batch && config.out_of_window == OutOfWindow::Reject {
            let (min, max) = min_max(positions)?;
            let rule = format!("in 0..{length} (L of the logits), since out_of_window is reject");
            return Err(Error::Range { tensor: positions_name, rule, min, max });
        }
        if count == 0 {
            let reason = "no row has its gold position inside the window";
            return Err(Error::Empty { tensor: positions_name, reason });
        }
        let device = logits.device();
        let gold = positions.f_index_select(0, &rows_with_loss)?;
        let logits = match count == batch {
            true => logits.shallow_clone(),
            false => logits.f_index_select(0, &upload(&rows_with_loss, device)?)?,
        };
        let mut is_excluded = None;
        if let Some(mask) = context_mask {
            // If the mask or the positions are on the GPU, the mask is checked on the GPU.
            let mask_device = if mask.device() == Device::Cpu { gold.device() } else { device };
            let (mask, rows_with_loss, gold) = (
                upload(mask, mask_device)?,
                upload(&rows_with_loss, mask_device)?,
                upload(&gold, mask_device)?,
            );
            let excluded = mask.f_index_select(0, &rows_with_loss)?.f_logical_not()?;
            let excluded_gold =
                excluded.f_gather(1, &gold.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
            if let Some([row]) = first_true_index(&excluded_gold)?.as_deref() {
                return Err(Error::Excluded {
                    tensor: positions_name,
                    row: rows_with_loss.f_int64_value(&[*row])?,
                    position: gold.f_int64_value(&[*row])?,
                });
            }
            is_excluded = Some(excluded);
        }
        Ok(Self { gold, logits, is_excluded })
    }
}
