//! Masked language modelling on masked positions.
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_ext::LossReduction;

use crate::{Error, TokenScores};

/// Options of [`masked_lm`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaskedLmConfig {
    /// Reduction over positions.
    pub reduction: MaskedLmReduction,
}

/// Reduction of [`masked_lm`] over positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MaskedLmReduction {
    /// The mean over the N masked positions of the whole batch (not of each row).
    #[default]
    Mean,
    /// The sum over masked positions, for callers that divide by the number of masked positions in
    /// several accumulated batches.
    Sum,
}

/// Computes the masked language modelling loss (*Bridging the Language Gap*, Eq. 1), in nats.
///
/// The loss is `-(1/N) Σᵢ ln softmax(logits[i])[targets[i]]` over the N masked positions.
///
/// Interpretation: Eq. 1 is printed without the minus sign, as a sum, and writes `x ∘ m` for the
/// tokens of x that are *not* masked. This function returns the mean over masked positions, which
/// does not depend on padding or visible tokens.
///
/// # Shapes
/// - `scores`: the logits `[N, V]` of the LM head on [`MaskedPositions::gather`]ed hidden states,
///   or, for large V, [`TokenScores::linear`] of the head's last layer, whose logits are never
///   stored in full; receives gradient
/// - `targets`: `[N]` i64, in `0..V`, such as [`MaskedPositions::targets`]. Targets on the CPU are
///   checked without waiting for a GPU
/// - returns `[]`: f64 for f64 logits, f32 for all others (softmax and reduction use this dtype)
///
/// [`MaskedPositions::gather`]: crate::MaskedPositions::gather
/// [`MaskedPositions::targets`]: crate::MaskedPositions::targets
///
/// # Errors
/// [`Error::Empty`] if N = 0; [`Error::Range`] if a target is outside `0..V`; [`Error::Shape`],
/// [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{MaskedLmConfig, TokenScores, masked_lm, masked_positions};
///
/// let labels = Tensor::from_slice(&[-100_i64, 3, -100, 0]).view([2, 2]);
/// let masked = masked_positions(&labels)?;
/// let hidden = Tensor::zeros([2, 2, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let decoder = Tensor::ones([5, 8], (Kind::Float, Device::Cpu)); // V = 5
/// let rows = masked.gather(&hidden)?;
/// let logits = rows.matmul(&decoder.tr());
/// let loss = masked_lm(&logits, &masked.targets, &MaskedLmConfig::default())?;
/// assert!((loss.double_value(&[]) - 5_f64.ln()).abs() < 1e-6); // equal logits: ln V
///
/// // The same loss, computed in chunks without storing the logits.
/// let scores = TokenScores::linear(&rows, &decoder, None);
/// let loss = masked_lm(scores, &masked.targets, &MaskedLmConfig::default())?;
/// loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn masked_lm<'a>(
    scores: impl Into<TokenScores<'a>>,
    targets: &Tensor,
    config: &MaskedLmConfig,
) -> Result<Tensor, Error> {
    let scores = scores.into();
    let targets = &scores.check_targets(targets)?;
    let reduction = match config.reduction {
        MaskedLmReduction::Mean => LossReduction::Mean,
        MaskedLmReduction::Sum => LossReduction::Sum,
    };
    scores.loss(targets, reduction, None)
}
