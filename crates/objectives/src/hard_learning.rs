//! Hard learning: losses over a set of candidate answers.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::upload;

use crate::checks::{
    check_device, check_float, check_int64, check_mask, check_matrix, check_shape, common_device,
    first_true_index, min_max,
};
use crate::span_checks::reduction_kind;
use crate::{Error, IGNORE_INDEX};

/// Options of [`hard_learning`].
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HardLearningConfig {
    /// Weighting of the candidates.
    pub weighting: HardLearningWeighting,
    /// Weight λ ≥ 0 of an additional term `-λ ln P(z_gold)`. The paper's Eq. 9 has no such term, so
    /// the default is 0: the gold span is weighted like any other candidate.
    pub gold_loss_weight: f64,
}

/// Weighting of a row's candidates in [`hard_learning`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HardLearningWeighting {
    /// `-Σ_l w_l ln P(z_l)` with `w = softmax(θ)` over the row's candidates. θ is learned and has
    /// one scalar per slot, shared by all rows.
    #[default]
    Learned,
    /// `-max_l ln P(z_l)`: hard EM. Tied candidates share the gradient evenly.
    HardEm,
    /// `-ln Σ_l P(z_l)`: maximum marginal likelihood (Eq. 4).
    Mml,
    /// `-mean_l ln P(z_l)`. Unlike [`Mml`](Self::Mml), this loss raises the probability of every
    /// candidate.
    Uniform,
}

/// Computes the hard-learning loss of *From Good to Best* over candidate answers, in nats.
///
/// Z is the set of candidates of a row. [`HardLearningWeighting::Mml`] is Eq. 4, the other
/// weightings are forms of Eq. 5. The loss is the mean over rows.
///
/// Interpretation: Eq. 5 is printed as `-Σ_l w_l ln Σ_z P(z)`. The inner sum of Eq. 5 does not
/// depend on l, and the weights are unconstrained, so Eq. 5 has no minimum. This function computes
/// `-Σ_l w_l ln P(z_l)` with positive weights that sum to 1. In rows with fewer than K candidates,
/// the weights are renormalised. If only θ is trained, the weight moves to the slot with the
/// highest mean log-probability. At the paper's learning rate of 3e-5 the weights hardly change, so
/// use a separate learning rate for θ.
///
/// The mean is over rows with a candidate and, if `gold_index` is given, a gold candidate. All
/// other rows and empty slots receive a gradient of exactly 0. If the gold span is the only
/// candidate, every weighting equals the span loss
/// ([`SpanReduction::Sum`](crate::SpanReduction::Sum)).
///
/// # Shapes
/// - `span_log_probs`: `[B, K]` Float, BFloat16, Half or Double, as returned by
///   [`span_log_probs`](crate::span_log_probs()); receives gradient
/// - `valid`: `[B, K]` bool, whether the slot holds a candidate
/// - `gold_index`: `[B]` i64, the slot of the gold span, [`IGNORE_INDEX`] in rows without a gold
///   span; [`AnswerCandidates::gold_index`](crate::AnswerCandidates::gold_index). Required for
///   `gold_loss_weight` > 0
/// - `weights`: `[K]` Float, BFloat16, Half or Double, θ; receives gradient. Required by
///   `Learned`, ignored by the other weightings
/// - `valid` and `gold_index` may be on the CPU, where they are read without waiting for a GPU
/// - returns `[]`: f64 for f64 `span_log_probs`, f32 for all others (the reduction uses this dtype)
///
/// # Errors
/// [`Error::Empty`] if no row carries loss; [`Error::Missing`] for a missing argument that the
/// config requires; [`Error::Domain`] unless `gold_loss_weight` is finite and 0 or more;
/// [`Error::Range`] for a gold index outside `0..K` that is not -100; [`Error::GoldSlot`] if a gold
/// index points to an empty slot; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{HardLearningConfig, HardLearningWeighting, hard_learning};
///
/// let log_probs = Tensor::from_slice(&[0.5_f64, 0.25, 1.0]).log().view([1, 3]);
/// let valid = Tensor::from_slice(&[true, true, false]).view([1, 3]);
/// let config = HardLearningConfig { weighting: HardLearningWeighting::Mml, ..Default::default() };
/// let loss = hard_learning(&log_probs, &valid, None, None, &config)?;
/// // 1/2 + 1/4; the third slot is empty.
/// assert!((loss.double_value(&[]) + 0.75_f64.ln()).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn hard_learning(
    span_log_probs: &Tensor,
    valid: &Tensor,
    gold_index: Option<&Tensor>,
    weights: Option<&Tensor>,
    config: &HardLearningConfig,
) -> Result<Tensor, Error> {
    let (batch, slots) = check_matrix("span_log_probs", span_log_probs, "[B, K]")?;
    check_float("span_log_probs", span_log_probs)?;
    let (kind, device) = (reduction_kind(span_log_probs)?, span_log_probs.device());
    check_mask("valid", valid, &[batch, slots], "[B, K]", "span_log_probs", device)?;
    let theta = check_theta(weights, slots, span_log_probs, config)?;
    check_gold_options(gold_index, batch, slots, span_log_probs, config)?;

    // Values are checked on the device of the arguments before they are copied.
    let mask_device = common_device([valid].into_iter().chain(gold_index), device);
    let valid = upload(valid, mask_device)?;
    let gold = gold_index.map(|gold| upload(gold, mask_device)).transpose()?;
    let mut has_loss = valid.f_any_dim(1, false)?; // [B]
    if let Some(gold) = &gold {
        has_loss = has_loss.f_logical_and(&gold.f_ge(0)?)?;
    }
    let rows_with_loss = has_loss.f_nonzero()?.f_squeeze_dim(1)?; // [n] of the B rows
    if rows_with_loss.size1()? == 0 {
        let reason = "no row has a candidate (or, with gold_index, a gold candidate)";
        return Err(Error::Empty { tensor: "valid", reason });
    }
    let empty = valid.f_index_select(0, &rows_with_loss)?.f_logical_not()?; // [n, K]
    let mut gold = gold.map(|gold| gold.f_index_select(0, &rows_with_loss)).transpose()?;
    if let Some(gold) = &mut gold {
        check_gold_slot(gold, &empty, &rows_with_loss)?;
        *gold = upload(gold, device)?;
    }
    let device_rows = upload(&rows_with_loss, device)?;
    let rows = CandidateRows {
        log_probs: span_log_probs.f_index_select(0, &device_rows)?.f_to_kind(kind)?,
        empty: upload(&empty, device)?,
    };
    let mut losses = rows.losses(config.weighting, theta.as_ref())?; // [n]
    if let Some(gold) = gold.filter(|_| config.gold_loss_weight > 0.0) {
        let gold_log_probs =
            rows.log_probs.f_gather(1, &gold.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
        losses = losses.f_sub(&gold_log_probs.f_mul_scalar(config.gold_loss_weight)?)?;
    }
    Ok(losses.f_mean(None::<Kind>)?)
}

/// Validates θ and converts it to the dtype of the reduction, if the weighting uses θ.
fn check_theta(
    weights: Option<&Tensor>,
    slots: i64,
    span_log_probs: &Tensor,
    config: &HardLearningConfig,
) -> Result<Option<Tensor>, Error> {
    if config.weighting != HardLearningWeighting::Learned {
        return Ok(None);
    }
    let Some(weights) = weights else {
        let reason = "learned weighting has one parameter per slot";
        return Err(Error::Missing { argument: "weights", reason });
    };
    check_shape("weights", weights, &[slots], "[K]")?;
    check_float("weights", weights)?;
    check_device("weights", weights, "span_log_probs", span_log_probs.device())?;
    Ok(Some(weights.f_to_kind(reduction_kind(span_log_probs)?)?))
}

/// Validates `gold_index` and `gold_loss_weight`.
fn check_gold_options(
    gold_index: Option<&Tensor>,
    batch: i64,
    slots: i64,
    span_log_probs: &Tensor,
    config: &HardLearningConfig,
) -> Result<(), Error> {
    let value = config.gold_loss_weight;
    if !value.is_finite() || value < 0.0 {
        let rule = "finite and at least 0";
        return Err(Error::Domain { option: "gold_loss_weight", value, rule });
    }
    let Some(gold) = gold_index else {
        if value > 0.0 {
            let reason = "gold_loss_weight is above 0, so gold_index is required";
            return Err(Error::Missing { argument: "gold_index", reason });
        }
        return Ok(());
    };
    check_int64("gold_index", gold, &[batch], "[B]", "span_log_probs", span_log_probs.device())?;
    if batch > 0 {
        let without_ignored = gold.f_masked_fill(&gold.f_eq(IGNORE_INDEX)?, 0)?;
        let (min, max) = min_max(&without_ignored)?;
        if min < 0 || (max >= slots && slots > 0) {
            let rule =
                format!("in 0..{slots} (K of span_log_probs), or -100 in rows without a gold span");
            let (min, max) = min_max(gold)?;
            return Err(Error::Range { tensor: "gold_index", rule, min, max });
        }
    }
    Ok(())
}

/// Rejects a gold slot `[n]` if `empty` `[n, K]` is true at this slot.
fn check_gold_slot(gold: &Tensor, empty: &Tensor, rows_with_loss: &Tensor) -> Result<(), Error> {
    let is_empty_slot = empty.f_gather(1, &gold.f_unsqueeze(1)?, false)?.f_squeeze_dim(1)?;
    if let Some([row]) = first_true_index(&is_empty_slot)?.as_deref() {
        let (row, slot) = (rows_with_loss.f_int64_value(&[*row])?, gold.f_int64_value(&[*row])?);
        return Err(Error::GoldSlot { row, slot });
    }
    Ok(())
}

/// The log-probabilities of the candidates, in the rows that carry loss.
struct CandidateRows {
    /// `[n, K]`, in the dtype of the reduction.
    log_probs: Tensor,
    /// `[n, K]` bool: whether the slot holds no candidate.
    empty: Tensor,
}

impl CandidateRows {
    /// The loss of each row, `[n]`.
    fn losses(
        &self,
        weighting: HardLearningWeighting,
        theta: Option<&Tensor>,
    ) -> Result<Tensor, Error> {
        let with_zeros = || self.log_probs.f_masked_fill(&self.empty, 0.0);
        let with_neg_inf = || self.log_probs.f_masked_fill(&self.empty, f64::NEG_INFINITY);
        // [n, K]; each row sums to 1 over its candidates.
        let slot_weights = |theta: &Tensor| -> Result<Tensor, Error> {
            let theta = theta.f_expand_as(&self.log_probs)?;
            Ok(theta.f_masked_fill(&self.empty, f64::NEG_INFINITY)?.f_softmax(1, None)?)
        };
        let row_sum = |tensor: Tensor| tensor.f_sum_dim_intlist(1, false, None::<Kind>);
        let log_likelihood = match (weighting, theta) {
            (HardLearningWeighting::Learned, Some(theta)) => {
                row_sum(slot_weights(theta)?.f_mul(&with_zeros()?)?)?
            }
            (HardLearningWeighting::HardEm, _) => with_neg_inf()?.f_amax(1, false)?,
            (HardLearningWeighting::Mml, _) => with_neg_inf()?.f_logsumexp(1, false)?,
            (HardLearningWeighting::Uniform, _) => {
                let count = row_sum(self.empty.f_logical_not()?)?;
                row_sum(with_zeros()?)?.f_div(&count)?
            }
            (HardLearningWeighting::Learned, None) => {
                let reason = "learned weighting has one parameter per slot";
                return Err(Error::Missing { argument: "weights", reason });
            }
        };
        Ok(log_likelihood.f_neg()?)
    }
}

/// Returns the probability that a step uses [`HardLearningWeighting::HardEm`] instead of
/// [`HardLearningWeighting::Mml`].
///
/// The probability is `min(step / anneal_steps, 0.8)`, or 1 if `anneal_steps` is `None`. This is
/// the schedule of Min et al. 2019 (*A Discrete Hard EM Approach for Weakly Supervised Question
/// Answering*). Use the seeded random generator of the run to choose the weighting of each step.
///
/// # Example
/// ```
/// use objectives::hard_em_probability;
///
/// assert_eq!(hard_em_probability(500, Some(2_000)), 0.25);
/// assert_eq!(hard_em_probability(5_000, Some(2_000)), 0.8);
/// assert_eq!(hard_em_probability(0, None), 1.0);
/// ```
pub fn hard_em_probability(step: u64, anneal_steps: Option<u64>) -> f64 {
    // `min` ignores the NaN of 0/0, so annealing over 0 steps ends immediately.
    anneal_steps.map_or(1.0, |steps| (step as f64 / steps as f64).min(0.8))
}
