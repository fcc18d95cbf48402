//! How an encoder represents positions, and which batches it computes without padding.
use crate::DebertaV2;

/// How an encoder represents positions.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Positions<'a> {
    /// Position embeddings with ids from 0.
    FromZero,
    /// Position embeddings with ids that start after the id of `<pad>`.
    AfterPad,
    /// As [`AfterPad`](Self::AfterPad), and attention scores have a bias that depends on the
    /// distance between two tokens.
    AfterPadWithBias,
    /// Rotary positions from 0.
    Rotary(Rotary),
    /// Positions from 0, whose distances are part of attention scores.
    Relative(&'a DebertaV2),
}

/// Constants of rotary positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotary {
    /// θ of layers with global attention.
    pub(crate) theta: f64,
    /// θ of layers with local attention, and the maximum distance to an attended token; absent if
    /// there are no such layers.
    pub(crate) local: Option<(f64, i64)>,
}

/// Which batches are computed without padding, if device, dtype and width allow it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PackingRule {
    /// Batches in training, and all batches on the CPU.
    TrainingAndCpu,
    /// As [`TrainingAndCpu`](Self::TrainingAndCpu), but only if the distance between two tokens of
    /// a text is the same without padding.
    ///
    /// This applies to windows of local attention: all padding must be on the right, and a row
    /// must not consist of two texts.
    RightPadding,
    /// Batches in training.
    Training,
}
