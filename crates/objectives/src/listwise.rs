//! Re-ranking of lists of candidates, with a regulariser that keeps the scores near earlier scores.
use serde::{Deserialize, Serialize};
use tch::Tensor;
use torch_ext::upload;

use crate::checks::{
    check_device, check_float, check_ids, check_int64, check_mask, check_matrix, check_shape,
    first_true_index,
};
use crate::cross_entropy::row_losses;
use crate::span_checks::reduction_kind;
use crate::{Error, IGNORE_INDEX};

/// Added to each difference of scores before the norm, as in torch's `PairwiseDistance`.
const DISTANCE_EPSILON: f64 = 1e-6;

/// Options of [`listwise`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListwiseConfig {
    /// Weight λ of the rank regulariser, 0 or more. The default is that of xMEN's released code.
    pub rank_weight: f64,
}

impl Default for ListwiseConfig {
    fn default() -> Self {
        Self { rank_weight: 1.0 }
    }
}

impl ListwiseConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Domain`] for the first option out of range.
    pub fn validate(&self) -> Result<(), Error> {
        if self.rank_weight.is_finite() && self.rank_weight >= 0.0 {
            return Ok(());
        }
        let rule = "finite and 0 or more";
        Err(Error::Domain { option: "rank_weight", value: self.rank_weight, rule })
    }
}

/// Computes the re-ranking loss of *xMEN* (Borchert et al. 2023): softmax cross-entropy over the
/// candidates of each list, plus λ times the distance of the scores from the generator's scores.
///
/// `1/B Σᵢ (−ln softmax(zᵢ)[gᵢ] + λ ‖zᵢ − pᵢ + ε‖₂)` with ε = 1e-6. The scores pᵢ are those of the
/// candidate generator, such as cosines. The regulariser limits how far the re-ranker moves away
/// from the generator's ranking. The loss follows the released code (PyPI `xmen` 1.0.8), where a
/// batch is one list; for a batch of lists, it is the mean over the lists.
///
/// Interpretation: a list without the correct candidate has no cross-entropy, but is regularised, as
/// in the released code without its candidate `[NIL]`. With such a candidate, it is the gold of these
/// lists.
///
/// # Shapes
/// - `logits`: `[B, K]` Float, BFloat16, Half or Double, the re-ranker's scores zᵢ; receives gradient
/// - `prior`: `[B, K]` Float, BFloat16, Half or Double, pᵢ; receives no gradient
/// - `gold_index`: `[B]` i64, the correct candidate gᵢ, or -100 if the list does not contain it
/// - `valid`: `[B, K]` bool; false for padding, which receives a gradient of exactly 0, regardless of
///   its values. Masks and gold indices may be on the CPU
/// - returns `[]`: f64 for f64 `logits`, f32 for all others
///
/// # Errors
/// [`Error::Empty`] without a list; [`Error::Range`] for a gold index outside `0..K`;
/// [`Error::GoldSlot`] if it is padding; [`Error::Domain`] for an invalid weight; [`Error::Shape`],
/// [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::Tensor;
/// use objectives::{ListwiseConfig, listwise};
///
/// let logits = Tensor::from_slice(&[3.0_f64, 4.0]).view([1, 2]);
/// let prior = Tensor::from_slice(&[0.0_f64, 0.0]).view([1, 2]);
/// let gold = Tensor::from_slice(&[1_i64]);
/// let loss = listwise(&logits, &prior, &gold, None, &ListwiseConfig::default())?;
/// let cross_entropy = (1.0 + (-1.0_f64).exp()).ln();
/// assert!((loss.double_value(&[]) - (cross_entropy + 5.0)).abs() < 1e-5); // ‖(3, 4)‖ = 5
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn listwise(
    logits: &Tensor,
    prior: &Tensor,
    gold_index: &Tensor,
    valid: Option<&Tensor>,
    config: &ListwiseConfig,
) -> Result<Tensor, Error> {
    config.validate()?;
    let (lists, candidates) = check_matrix("logits", logits, "[B, K]")?;
    check_float("logits", logits)?;
    let (kind, device) = (reduction_kind(logits)?, logits.device());
    check_shape("prior", prior, &[lists, candidates], "[B, K]")?;
    check_float("prior", prior)?;
    check_device("prior", prior, "logits", device)?;
    check_int64("gold_index", gold_index, &[lists], "[B]", "logits", device)?;
    if let Some(valid) = valid {
        check_mask("valid", valid, &[lists, candidates], "[B, K]", "logits", device)?;
    }
    if lists == 0 || candidates == 0 {
        return Err(Error::Empty { tensor: "logits", reason: "no candidates" });
    }
    let gold = upload(gold_index, device)?;
    let has_gold = gold.f_ne(IGNORE_INDEX)?;
    // Lists without a gold index are checked and scored with candidate 0, and then excluded.
    let any_gold = gold.f_where_self(&has_gold, &gold.f_zeros_like()?)?;
    check_ids("gold_index", &any_gold, candidates, ", or -100")?;
    let is_padding = match valid {
        Some(valid) => Some(upload(&valid.f_logical_not()?, device)?),
        None => None,
    };
    let logits = logits.f_to_kind(kind)?;
    let masked = match &is_padding {
        Some(is_padding) => {
            let gold_is_padding = is_padding.f_gather(1, &any_gold.f_unsqueeze(1)?, false)?;
            let invalid = gold_is_padding.f_squeeze_dim(1)?.f_logical_and(&has_gold)?;
            if let Some(row) = first_true_index(&invalid)? {
                let slot = any_gold.f_int64_value(&row)?;
                return Err(Error::GoldSlot { row: row[0], slot });
            }
            logits.f_masked_fill(is_padding, f64::NEG_INFINITY)?
        }
        None => logits.shallow_clone(),
    };
    // The targets of lists without a gold index are ignored, so their loss is 0.
    let cross_entropy = row_losses(&masked, &gold)?.f_sum(kind)?;
    let mut loss = cross_entropy;
    if config.rank_weight > 0.0 {
        let mut differences =
            logits.f_sub(&prior.f_detach()?.f_to_kind(kind)?)?.f_add_scalar(DISTANCE_EPSILON)?;
        if let Some(is_padding) = &is_padding {
            differences = differences.f_masked_fill(is_padding, 0.0)?;
        }
        // The gradient of a norm of 0 is 0.
        let distances = differences.f_norm_scalaropt_dim(2.0, [1_i64].as_slice(), false)?;
        loss = loss.f_add(&distances.f_sum(kind)?.f_mul_scalar(config.rank_weight)?)?;
    }
    Ok(loss.f_div_scalar(lists as f64)?)
}
