//! Scores of all tokens of the vocabulary, as logits or as a linear layer.
use tch::{Kind, Tensor};
use torch_ext::{LinearCrossEntropy, LossReduction, linear_cross_entropy, upload};

use crate::Error;
use crate::checks::{check_device, check_float, check_ids, check_int64, check_matrix, check_shape};
use crate::cross_entropy::row_losses;

/// Scores of all V tokens at N masked positions, as logits or as a linear layer.
///
/// A `&Tensor` converts to [`Logits`](Self::Logits). For large vocabularies prefer
/// [`linear`](Self::linear), which saves memory: logits are computed for one chunk of rows at a
/// time.
#[derive(Clone, Copy, Debug)]
pub enum TokenScores<'a> {
    /// `[N, V]` Float, BFloat16, Half or Double; receives gradient.
    Logits(&'a Tensor),
    /// The logits are `hidden · weightᵀ + bias`; see
    /// [`linear_cross_entropy`](crate::linear_cross_entropy()).
    Linear {
        /// `[N, H]` Float, BFloat16, Half or Double; receives gradient.
        hidden: &'a Tensor,
        /// `[V, H]`, the decoder; receives gradient.
        weight: &'a Tensor,
        /// `[V]`; receives gradient.
        bias: Option<&'a Tensor>,
    },
}

impl<'a> From<&'a Tensor> for TokenScores<'a> {
    fn from(logits: &'a Tensor) -> Self {
        Self::Logits(logits)
    }
}

impl<'a> TokenScores<'a> {
    /// Creates the scores `hidden · weightᵀ + bias`, which are computed in chunks.
    pub fn linear(hidden: &'a Tensor, weight: &'a Tensor, bias: Option<&'a Tensor>) -> Self {
        Self::Linear { hidden, weight, bias }
    }

    /// The name of the tensor that has one row per position.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Logits(_) => "logits",
            Self::Linear { .. } => "hidden",
        }
    }

    /// The device of the tensor that has one row per position.
    pub(crate) fn device(&self) -> tch::Device {
        match self {
            Self::Logits(rows) | Self::Linear { hidden: rows, .. } => rows.device(),
        }
    }

    /// Checks shapes, dtypes and devices, and returns N and V.
    pub(crate) fn checked_sizes(&self) -> Result<(i64, i64), Error> {
        match *self {
            Self::Logits(logits) => {
                let sizes = check_matrix("logits", logits, "[N, V]")?;
                check_float("logits", logits)?;
                Ok(sizes)
            }
            Self::Linear { hidden, weight, bias } => {
                let (count, width) = check_matrix("hidden", hidden, "[N, H]")?;
                check_float("hidden", hidden)?;
                let (vocabulary, _) = check_matrix("weight", weight, "[V, H]")?;
                check_shape("weight", weight, &[vocabulary, width], "[V, H]")?;
                check_float("weight", weight)?;
                check_device("weight", weight, "hidden", hidden.device())?;
                if let Some(bias) = bias {
                    check_shape("bias", bias, &[vocabulary], "[V]")?;
                    check_float("bias", bias)?;
                    check_device("bias", bias, "hidden", hidden.device())?;
                }
                Ok((count, vocabulary))
            }
        }
    }

    /// Checks the scores and the `targets` `[N]`, which must be token ids, and returns the targets
    /// on the device of the scores.
    pub(crate) fn check_targets(&self, targets: &Tensor) -> Result<Tensor, Error> {
        let (count, vocabulary) = self.checked_sizes()?;
        check_int64("targets", targets, &[count], "[N]", self.name(), self.device())?;
        if count == 0 {
            return Err(Error::Empty { tensor: "targets", reason: "no position carries loss" });
        }
        let axis = if self.name() == "logits" { "V of the logits" } else { "V of the weight" };
        let hint = format!(" ({axis}); masked_positions drops positions labelled -100");
        check_ids("targets", targets, vocabulary, &hint)?;
        Ok(upload(targets, self.device())?)
    }

    /// Computes the cross-entropy with `targets`, as the mean or the sum over positions. `targets`
    /// must be a result of [`check_targets`](Self::check_targets). With `weights` `[N]`, the sum is
    /// weighted: the loss of each position is multiplied by the weight of the position.
    pub(crate) fn loss(
        &self,
        targets: &Tensor,
        reduction: LossReduction,
        weights: Option<&Tensor>,
    ) -> Result<Tensor, Error> {
        match *self {
            Self::Logits(logits) => {
                let losses = row_losses(logits, targets)?; // [N]
                Ok(match (reduction, weights) {
                    (LossReduction::Mean, _) => losses.f_mean(None::<Kind>)?,
                    (_, None) => losses.f_sum(None::<Kind>)?,
                    (_, Some(weights)) => {
                        losses.f_mul(&weights.f_to_kind(losses.f_kind()?)?)?.f_sum(None::<Kind>)?
                    }
                })
            }
            Self::Linear { hidden, weight, bias } => {
                let options = LinearCrossEntropy { reduction, weights, chunk_rows: None };
                Ok(linear_cross_entropy(hidden, weight, bias, targets, &options)?)
            }
        }
    }
}
