//! The two halves of a batch of windows and their losses.
use mlqa_eval::Window;
use objectives::{SpanConfig, span};
use tch::{Kind, Tensor};
use xlmr_model::{FusionConfig, Model, encode_fused};

use crate::Result;
use crate::question_answering::{WindowBatch, context_mask, position_labels};

use super::SoftPositions;
use super::pairs::contains_answer;

/// Windows of one half (target or source) of a batch of pairs.
pub(super) struct Half<'w> {
    windows: Vec<&'w Window>,
    batch: WindowBatch,
}

/// Start and end logits of a half, `[B, L]` each.
pub(super) type SpanLogits = (Tensor, Tensor);

impl<'w> Half<'w> {
    pub(super) fn new(windows: Vec<&'w Window>, context_only: bool, model: &Model) -> Result<Self> {
        let batch = WindowBatch::new(&windows, context_only, model)?;
        Ok(Self { windows, batch })
    }

    /// Computes the mean loss over the windows with a label; `None` if no window has a label.
    ///
    /// If `label_unanswerable` is set, the label of a window without the answer is `<s>`; otherwise
    /// such a window has no label.
    pub(super) fn loss(
        &self,
        (starts, ends): &SpanLogits,
        label_unanswerable: bool,
        config: &SpanConfig,
    ) -> Result<Option<Tensor>> {
        if !self.windows.iter().any(|window| is_labelled(window, label_unanswerable)) {
            return Ok(None);
        }
        let labelled = |window: &Window| is_labelled(window, label_unanswerable);
        let start_labels = position_labels(&self.windows, |window| {
            window.start_position.filter(|_| labelled(window))
        })?;
        let end_labels = position_labels(&self.windows, |window| {
            window.end_position.filter(|_| labelled(window))
        })?;
        Ok(Some(span(
            starts,
            ends,
            &start_labels,
            &end_labels,
            Some(&self.batch.answer_mask),
            config,
        )?))
    }

    /// `[B, L]` bool on the CPU: positions with soft labels.
    pub(super) fn soft_mask(&self, positions: SoftPositions) -> Result<Tensor> {
        match positions {
            SoftPositions::Context => context_mask(&self.windows),
            SoftPositions::Tokens => Ok(match &self.batch.inputs.attention_mask {
                Some(mask) => mask.f_to_kind(Kind::Bool)?,
                None => self.batch.inputs.input_ids.f_ones_like()?.f_to_kind(Kind::Bool)?,
            }),
        }
    }
}

/// Returns whether a training window has a label.
pub(super) fn is_labelled(window: &Window, label_unanswerable: bool) -> bool {
    contains_answer(window) || (label_unanswerable && window.start_position.is_some())
}

/// Computes the logits of both halves, the target half first.
pub(super) fn logits(
    model: &Model,
    target: &Half<'_>,
    source: &Half<'_>,
    fusion: &FusionConfig,
    train: bool,
) -> Result<[SpanLogits; 2]> {
    let (target_states, source_states) =
        encode_fused(model, &target.batch.inputs, &source.batch.inputs, fusion, train)?;
    Ok([model.span_logits(&target_states, train)?, model.span_logits(&source_states, train)?])
}
