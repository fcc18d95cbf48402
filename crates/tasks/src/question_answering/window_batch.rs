//! Batches of windows as model inputs.
use mlqa_eval::Window;
use tch::{Kind, Tensor};
use torch_ext::to_i64;
use trainer::Fingerprint;
use xlmr_model::{Inputs, Model};

use crate::{Error, Result};

/// B windows padded to L tokens, on the CPU.
#[derive(Debug)]
pub(crate) struct WindowBatch {
    /// Token ids, mask and, if the model has segments, segment ids: `[B, L]` each.
    pub(crate) inputs: Inputs,
    /// `[B, L]` bool: positions where an answer may start or end; false for padding.
    pub(crate) answer_mask: Tensor,
    /// `[B, L]` float: 1 for the first token, the tokens of the question and the separators after
    /// the question except the last one; otherwise 0.
    pub(crate) question: Tensor,
}

impl WindowBatch {
    /// Pads the windows.
    ///
    /// With `context_only` an answer may start and end at the context's tokens, and at `<s>` in a
    /// window labelled as unanswerable; otherwise at every token.
    ///
    /// # Errors
    /// [`Error::Torch`] or [`Error::Model`] if a tensor cannot be created.
    pub(crate) fn new(windows: &[&Window], context_only: bool, model: &Model) -> Result<Self> {
        let ids: Vec<&[u32]> = windows.iter().map(|window| window.input_ids.as_slice()).collect();
        Self::with_ids(&ids, windows, context_only, model)
    }

    /// Like [`new`](Self::new), but with changed token ids: one row of the same length for each
    /// window.
    ///
    /// # Errors
    /// [`Error::Data`] if the rows and the windows differ in number or length; the errors of
    /// [`new`](Self::new).
    pub(crate) fn with_ids(
        ids: &[&[u32]],
        windows: &[&Window],
        context_only: bool,
        model: &Model,
    ) -> Result<Self> {
        let lengths =
            |rows: &[&[u32]]| -> Vec<usize> { rows.iter().map(|row| row.len()).collect() };
        let (actual, expected) = (lengths(ids), window_lengths(windows.iter().copied()));
        if actual != expected {
            return Err(Error::data(
                "ids",
                format!("rows of {expected:?} tokens"),
                format!("{actual:?}"),
            ));
        }
        let mut inputs = Inputs::from_rows(ids, model.config().pad_token_id)?;
        if model.config().type_vocab_size > 1 {
            let segment_ids: Vec<Vec<u32>> =
                windows.iter().map(|window| segment_ids(window, model.pair_segments())).collect();
            let segment_ids: Vec<&[u32]> = segment_ids.iter().map(Vec::as_slice).collect();
            inputs = inputs.with_token_type_ids(&segment_ids)?;
        }
        let answer_mask = position_mask(windows, |window, position| {
            let no_answer = position == 0 && window.start_position == Some(0);
            let context = window.context_start..window.context_end;
            !context_only || no_answer || context.contains(&position)
        })?;
        let question = position_mask(windows, |window, k| k + 1 < window.context_start)?;
        Ok(Self { inputs, answer_mask, question: question.f_to_kind(Kind::Float)? })
    }
}

/// Returns the segment of each token: the segments of the model's pairs
/// ([`Model::pair_segments`]) or, for a model whose pairs have none, the window's.
pub(crate) fn segment_ids(window: &Window, pair_segments: Option<usize>) -> Vec<u32> {
    let Some(n_separators) = pair_segments else {
        return window.token_type_ids.iter().map(|&id| u32::from(id)).collect();
    };
    // A window may have fewer separators than the tokenizer's layout. The first one is segment 0.
    let n_window_separators = window.context_start.saturating_sub(window.question_end);
    let n_separators = n_separators.min(n_window_separators.saturating_sub(1));
    let segment_1_start = window.context_start - n_separators;
    (0..window.input_ids.len()).map(|k| u32::from(k >= segment_1_start)).collect()
}

/// Returns the number of tokens of each window.
pub(crate) fn window_lengths<'a>(windows: impl IntoIterator<Item = &'a Window>) -> Vec<usize> {
    windows.into_iter().map(|window| window.input_ids.len()).collect()
}

/// `[B, L]` bool on the CPU: true where `is_set(window, position)`; false for padding.
fn position_mask(windows: &[&Window], is_set: impl Fn(&Window, usize) -> bool) -> Result<Tensor> {
    let length = windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
    let flat: Vec<bool> = windows
        .iter()
        .flat_map(|window| {
            let is_set = &is_set;
            (0..length).map(move |k| k < window.input_ids.len() && is_set(window, k))
        })
        .collect();
    let shape = [to_i64(windows.len()), to_i64(length)];
    Ok(Tensor::f_from_slice(&flat)?.f_view(shape)?)
}

/// `[B, L]` bool on the CPU: the context's tokens.
pub(crate) fn context_mask(windows: &[&Window]) -> Result<Tensor> {
    position_mask(windows, |window, k| (window.context_start..window.context_end).contains(&k))
}

/// `[B, L]` bool on the CPU: the question's tokens.
pub(crate) fn question_mask(windows: &[&Window]) -> Result<Tensor> {
    position_mask(windows, |window, k| (1..window.question_end).contains(&k))
}

/// `[B]` i64 on the CPU: `position` in each window; -1 for a window without a position, which does
/// not contribute to the loss.
pub(crate) fn position_labels(
    windows: &[&Window],
    position: impl Fn(&Window) -> Option<usize>,
) -> Result<Tensor> {
    let label = |window: &&Window| position(window).map_or(-1, to_i64);
    let labels: Vec<i64> = windows.iter().map(label).collect();
    Ok(Tensor::f_from_slice(&labels)?)
}

/// Adds all properties of windows that affect a training step to the fingerprint.
pub(crate) fn fingerprint_windows<'a>(
    fingerprint: &mut Fingerprint,
    windows: impl IntoIterator<Item = &'a Window>,
) {
    for window in windows {
        let positions =
            (window.context_start, window.context_end, window.start_position, window.end_position);
        fingerprint
            .add_ids("input_ids", &window.input_ids)
            .add_ids("token_type_ids", &window.token_type_ids)
            .add_json("positions", &positions);
    }
}
