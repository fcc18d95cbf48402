//! Comparisons of two span losses: the loss per window with the loss in `transformers`, and the
//! loss per group of windows with a loop over the groups.
use anyhow::{Context, Result};
use objectives::{GroupSpanConfig, SpanConfig, group_span, span};
use tch::{Device, Kind, Reduction, Tensor};

use crate::case::{backward, share_inputs};
use crate::{Case, SEED, Spec};

/// Returns the comparisons of `span`.
pub(crate) fn specs(device: Device) -> Vec<Spec> {
    let single_windows =
        [(16, false), (16, true), (128, false), (128, true)].map(move |(batch, masked)| {
            let size = format!("B={batch},L=384,mask={masked}");
            Spec::new("span", size, move || window_case(batch, masked, device))
        });
    let groups = [16, 128].map(move |batch| {
        Spec::new("span", format!("B={batch},L=384,groups of 2"), move || group_case(batch, device))
    });
    single_windows.into_iter().chain(groups).collect()
}

/// Creates two windows per question; the second window does not contain the answer.
fn group_case(batch: i64, device: Device) -> Result<Case> {
    let mut inputs = Inputs::random(batch, 384, true, device)?;
    let is_second = inputs.row_indices()?.f_remainder(2)?.f_eq(1)?;
    for positions in &mut inputs.positions {
        *positions = Tensor::f_randint_low(16, 384, [batch], (Kind::Int64, device))?
            .f_masked_fill(&is_second, -1)?;
    }
    let step = share_inputs(inputs);
    Ok(Case::new(step("grouped", Inputs::grouped), vec![step("looped", Inputs::looped)]))
}

fn window_case(batch: i64, masked: bool, device: Device) -> Result<Case> {
    let step = share_inputs(Inputs::random(batch, 384, masked, device)?);
    Ok(Case::new(step("checked", Inputs::checked), vec![step("clamped", Inputs::clamped)]))
}

/// Random logits and positions; the answer of every eighth row is outside the window. The context
/// mask excludes the first 16 tokens except `<s>`.
struct Inputs {
    logits: [Tensor; 2],
    positions: [Tensor; 2],
    /// Mask of the context; `None` in cases without a mask.
    context_mask: Option<Tensor>,
}

impl Inputs {
    fn random(batch: i64, length: i64, masked: bool, device: Device) -> Result<Self> {
        tch::manual_seed(SEED);
        let ids = (Kind::Int64, device);
        let logits = || -> Result<Tensor> {
            Ok(Tensor::f_randn([batch, length], (Kind::Float, device))?.set_requires_grad(true))
        };
        let is_unanswerable = Tensor::f_arange(batch, ids)?.f_remainder(8)?.f_eq(7)?;
        let positions = || -> Result<Tensor> {
            Ok(Tensor::f_randint_low(16, length, [batch], ids)?
                .f_masked_fill(&is_unanswerable, length)?)
        };
        let columns = Tensor::f_arange(length, ids)?;
        let context = columns.f_ge(16)?.f_logical_or(&columns.f_eq(0)?)?;
        Ok(Self {
            logits: [logits()?, logits()?],
            positions: [positions()?, positions()?],
            context_mask: masked.then_some(context.f_unsqueeze(0)?.f_repeat([batch, 1])?),
        })
    }

    /// This project's formulation. Runs the forward and backward passes, and returns the loss.
    fn checked(&self) -> Result<f64> {
        let [start, end] = &self.logits;
        let [starts, ends] = &self.positions;
        let mask = self.context_mask.as_ref();
        self.backward(span(start, end, starts, ends, mask, &SpanConfig::default())?)
    }

    /// Computes the loss as `XLMRobertaForQuestionAnswering` does: a clamp, then a cross-entropy
    /// that ignores L, without checks.
    fn clamped(&self) -> Result<f64> {
        let mut losses = Vec::new();
        for (logits, positions) in self.logits.iter().zip(&self.positions) {
            let (_, length) = logits.size2()?;
            let logits = match &self.context_mask {
                Some(mask) => logits.f_masked_fill(&mask.f_logical_not()?, f64::NEG_INFINITY)?,
                None => logits.shallow_clone(),
            };
            let positions = positions.f_clamp(0, length)?;
            losses.push(logits.f_cross_entropy_loss::<Tensor>(
                &positions,
                None,
                Reduction::Mean,
                length,
                0.0,
            )?);
        }
        self.backward(Tensor::f_stack(&losses, 0)?.f_sum(None::<Kind>)?.f_div_scalar(2.0)?)
    }

    /// Returns the index of each row: 0, 1, 2, …
    fn row_indices(&self) -> Result<Tensor> {
        let [start, _] = &self.logits;
        Ok(Tensor::f_arange(start.size2()?.0, (Kind::Int64, start.device()))?)
    }

    /// This project's formulation of the loss per group; each group contains the two windows of a
    /// question.
    fn grouped(&self) -> Result<f64> {
        let [start, end] = &self.logits;
        let [starts, ends] = &self.positions;
        let groups = self.row_indices()?.f_floor_divide_scalar(2)?;
        let (mask, config) = (self.context_mask.as_ref(), GroupSpanConfig::default());
        self.backward(group_span(start, end, &groups, starts, ends, mask, &config)?)
    }

    /// Computes the softmax of each group in a loop, without checks.
    fn looped(&self) -> Result<f64> {
        let mask = self.context_mask.as_ref().context("no mask")?.f_logical_not()?;
        let mut losses = Vec::new();
        for (logits, positions) in self.logits.iter().zip(&self.positions) {
            let logits = logits.f_masked_fill(&mask, f64::NEG_INFINITY)?;
            for group in 0..logits.size2()?.0 / 2 {
                let row = logits.f_narrow(0, 2 * group, 2)?.f_view([-1])?;
                let gold = positions.f_narrow(0, 2 * group, 1)?;
                losses.push(row.f_log_softmax(0, None)?.f_index_select(0, &gold)?);
            }
        }
        self.backward(Tensor::f_cat(&losses, 0)?.f_mean(None::<Kind>)?.f_neg()?)
    }

    fn backward(&self, loss: Tensor) -> Result<f64> {
        let [start, end] = &self.logits;
        backward(loss, &[start, end])
    }
}
