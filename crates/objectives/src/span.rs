//! The span loss of extractive question answering.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::checks::{check_int64, extent, first_true};
use crate::cross_entropy::{Rows, row_losses};
use crate::span_checks::check_span_logits;
use crate::{Checks, Error};

/// Options of [`span`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SpanConfig {
    /// How the start's and the end's loss become one.
    pub reduction: SpanReduction,
    /// What a gold position outside the window means.
    pub out_of_window: OutOfWindow,
    /// How much is checked before computing.
    pub checks: Checks,
}

/// How [`span`] joins the losses of start and end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanReduction {
    /// `(start + end) / 2`, as the question-answering models of `transformers` do.
    #[default]
    HalfSum,
    /// `start + end`, as *From Good to Best*, Eq. 3 has it.
    Sum,
}

/// What [`span`] does with a gold position outside `0..L`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OutOfWindow {
    /// It carries no loss: an answer that lies beyond this window. `transformers` does the same
    /// with positions ≥ L, but moves negative ones to 0, the `<s>` token; label them 0 yourself
    /// where you want that.
    #[default]
    Ignore,
    /// An error: every row must hold its answer.
    Reject,
}

/// The span loss of extractive QA: with `S = softmax(start_logits)` and `E = softmax(end_logits)`
/// over the window, `-mean_b ln S[b, s_b] - mean_b ln E[b, e_b]`, halved under
/// [`SpanReduction::HalfSum`]; in nats.
///
/// *Bridging the Language Gap* (§III-C) uses this head without numbering an equation; *From Good to
/// Best*, Eq. 2 and 3 print it.
///
/// Reading: start and end are independent, spans with `e < s` keep their probability. Each mean is
/// over the rows whose gold position is kept, start and end counted apart, so a row may count for
/// one and not for the other.
///
/// # Shapes
/// - `start_logits`, `end_logits`: `[B, L]` Float, BFloat16, Half or Double, both alike; receive
///   gradient. Rows that carry no loss receive exactly 0, whatever they hold
/// - `start_positions`, `end_positions`: `[B]` i64, gold token positions, the last one inclusive
/// - `context_mask`: `[B, L]` bool; positions that are false leave the softmax and receive no
///   gradient (padding, the question). Keep `<s>` true where it stands for "no answer here"
/// - returns `[]`: f64 for f64 logits, f32 for all others (softmax and reduction run in it)
///
/// # Errors
/// [`Error::Empty`] if no row keeps its start, or none its end; [`Error::Excluded`] naming
/// the row if the mask is false at a kept gold position; [`Error::Range`] under
/// [`OutOfWindow::Reject`]; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for tensors that do not fit; under [`Checks::Full`]
/// [`Error::NotFinite`].
///
/// # Example
/// ```
/// use objectives::{SpanConfig, span, tch::{Device, Kind, Tensor}};
///
/// let logits = Tensor::zeros([2, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let starts = Tensor::from_slice(&[2_i64, 99]); // 99: not in this window
/// let ends = Tensor::from_slice(&[3_i64, 99]);
/// let loss = span(&logits, &logits, &starts, &ends, None, &SpanConfig::default())?;
/// assert!((loss.double_value(&[]) - 8_f64.ln()).abs() < 1e-6); // nothing known: ln L
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
    let start = Side { names: ["start_logits", "start_positions"], context_mask, config };
    let end = Side { names: ["end_logits", "end_positions"], ..start };
    let sum =
        start.loss(start_logits, start_positions)?.f_add(&end.loss(end_logits, end_positions)?)?;
    match config.reduction {
        SpanReduction::Sum => Ok(sum),
        SpanReduction::HalfSum => Ok(sum.f_mul_scalar(0.5)?),
    }
}

/// One of start and end.
struct Side<'a> {
    /// The arguments of its logits and of its positions, for errors.
    names: [&'static str; 2],
    context_mask: Option<&'a Tensor>,
    config: &'a SpanConfig,
}

impl Side<'_> {
    /// The mean over the rows that keep their gold position.
    fn loss(&self, logits: &Tensor, positions: &Tensor) -> Result<Tensor, Error> {
        let [logits_name, positions_name] = self.names;
        let (batch, length) = logits.size2()?;
        let inside = positions.f_ge(0)?.f_logical_and(&positions.f_lt(length)?)?;
        let kept = inside.f_nonzero()?.f_squeeze_dim(1)?; // [n] of the B rows
        if kept.size1()? < batch && self.config.out_of_window == OutOfWindow::Reject {
            let (min, max) = extent(positions)?;
            let rule = format!("in 0..{length} (L of the logits), since out_of_window is reject");
            return Err(Error::Range { tensor: positions_name, rule, min, max });
        }
        if kept.size1()? == 0 {
            let reason = "no row has its gold position inside the window";
            return Err(Error::Empty { tensor: positions_name, reason });
        }
        let device = logits.device();
        let gold = positions.f_index_select(0, &kept)?; // [n]
        let mut rows = logits.f_index_select(0, &upload(&kept, device)?)?; // [n, L]
        if let Some(mask) = self.context_mask {
            // Where one of the two is on the GPU, so is the comparison.
            let place = if mask.device() == Device::Cpu { gold.device() } else { device };
            let (mask, kept, gold) =
                (upload(mask, place)?, upload(&kept, place)?, upload(&gold, place)?);
            let outside = mask.f_index_select(0, &kept)?.f_logical_not()?; // [n, L]
            let lost = outside.f_gather(1, &gold.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
            if let Some([row]) = first_true(&lost)?.as_deref() {
                return Err(Error::Excluded {
                    tensor: positions_name,
                    row: kept.f_int64_value(&[*row])?,
                    position: gold.f_int64_value(&[*row])?,
                });
            }
            rows = rows.f_masked_fill(&upload(&outside, device)?, f64::NEG_INFINITY)?;
        }
        let about = Rows { tensor: logits_name, origin: Some(&kept), checks: self.config.checks };
        Ok(row_losses(&rows, &upload(&gold, device)?, 0.0, &about)?.f_mean(None::<Kind>)?)
    }
}
