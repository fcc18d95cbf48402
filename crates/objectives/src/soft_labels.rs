//! Knowledge distillation from the logits of another model.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::upload;

use crate::Error;
use crate::checks::{
    check_device, check_float, check_mask, check_matrix, check_shape, check_temperature,
};
use crate::span_checks::reduction_kind;

/// Options of [`soft_labels`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SoftLabelConfig {
    /// Temperature T, above 0, by which the logits of student and teacher are divided. FILTER's
    /// paper does not state a temperature; 6 is the default of its released question-answering
    /// program.
    pub temperature: f64,
    /// Elements that share one softmax.
    pub over: SoftmaxOver,
}

impl Default for SoftLabelConfig {
    fn default() -> Self {
        Self { temperature: 6.0, over: SoftmaxOver::Row }
    }
}

impl SoftLabelConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Domain`] for the first option out of range.
    pub fn validate(&self) -> Result<(), Error> {
        check_temperature(self.temperature)
    }
}

/// Elements that share one softmax in [`soft_labels`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SoftmaxOver {
    /// Each row has its own distribution; the loss is the mean over rows.
    #[default]
    Row,
    /// Each row has its own distribution; the loss is the mean over all positions, that is 1/C of
    /// [`Row`](Self::Row) for C classes, as in FILTER's released classification code.
    RowPositions,
    /// All positions of the batch share one distribution, and the loss is divided by the number of
    /// positions, as in FILTER's released question-answering code. A row's loss then depends on the
    /// other rows, and decreases with the batch size.
    Batch,
}

/// Computes the distillation loss of Hinton et al. 2015, in nats.
///
/// The loss is `T² KL(softmax(teacher / T) || softmax(student / T))`. This is FILTER's
/// self-teaching loss (Fang et al. 2021, section 3).
///
/// Interpretation: the paper uses the divergence of each example's distribution. The released
/// question-answering code uses one distribution over the whole batch ([`SoftmaxOver::Batch`]). The
/// released classification code uses the mean over rows and classes
/// ([`SoftmaxOver::RowPositions`]). The factor T² preserves the gradient's magnitude as T
/// increases.
///
/// For a span head, use the mean of the start loss and the end loss.
///
/// # Shapes
/// - `student`: `[B, C]` Float, BFloat16, Half or Double, scores of classes or of positions;
///   receives gradient
/// - `teacher`: `[B, C]` Float, BFloat16, Half or Double; receives no gradient
/// - `mask`: `[B, C]` bool, which may be on the CPU, where it is read without waiting for a GPU;
///   false positions are excluded from both softmaxes and receive a gradient of exactly 0,
///   regardless of their values. A row without a true position is excluded from the mean
/// - returns `[]`: f64 for f64 `student`, f32 for all others (softmax and reduction use this dtype)
///
/// # Errors
/// [`Error::Empty`] if no row has a true position; [`Error::Domain`] unless `temperature` is above
/// 0 and at most [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE); [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::Tensor;
/// use objectives::{SoftLabelConfig, soft_labels};
///
/// let teacher = Tensor::from_slice(&[3.0_f64, 1.0]).log().view([1, 2]); // 3/4 and 1/4
/// let student = Tensor::from_slice(&[1.0_f64, 1.0]).log().view([1, 2]); // 1/2 each
/// let config = SoftLabelConfig { temperature: 1.0, ..Default::default() };
/// let loss = soft_labels(&student, &teacher, None, &config)?;
/// let expected = 0.75 * 1.5_f64.ln() + 0.25 * 0.5_f64.ln();
/// assert!((loss.double_value(&[]) - expected).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn soft_labels(
    student: &Tensor,
    teacher: &Tensor,
    mask: Option<&Tensor>,
    config: &SoftLabelConfig,
) -> Result<Tensor, Error> {
    config.validate()?;
    let (batch, classes) = check_matrix("student", student, "[B, C]")?;
    check_float("student", student)?;
    let (kind, device) = (reduction_kind(student)?, student.device());
    check_shape("teacher", teacher, &[batch, classes], "[B, C]")?;
    check_float("teacher", teacher)?;
    check_device("teacher", teacher, "student", device)?;
    if let Some(mask) = mask {
        check_mask("mask", mask, &[batch, classes], "[B, C]", "student", device)?;
    }
    let is_excluded = match mask {
        Some(mask) => Some(upload(&mask.f_logical_not()?, device)?),
        None => None,
    };
    // Positions excluded from the softmax are set to -∞ in the logits of student and teacher.
    let scores = |logits: &Tensor| -> Result<Tensor, Error> {
        let logits = logits.f_to_kind(kind)?;
        let logits = match &is_excluded {
            Some(is_excluded) => logits.f_masked_fill(is_excluded, f64::NEG_INFINITY)?,
            None => logits,
        };
        Ok(logits.f_div_scalar(config.temperature)?)
    };
    let (student, teacher) = (scores(student)?, scores(&teacher.f_detach()?)?);
    let position_count = match mask {
        Some(mask) => mask.f_sum(Kind::Int64)?.f_int64_value(&[])?,
        None => batch * classes,
    };
    if position_count == 0 {
        let reason = "the mask excludes all positions of every row";
        return Err(Error::Empty { tensor: "student", reason });
    }
    let (student, teacher, row_count) = match (config.over, mask) {
        (SoftmaxOver::Batch, _) => (student.f_reshape([1, -1])?, teacher.f_reshape([1, -1])?, 1),
        (_, None) => (student, teacher, batch),
        (_, Some(mask)) => {
            let valid_rows = mask.f_any_dim(1, false)?.f_nonzero()?.f_squeeze_dim(1)?; // [n]
            let device_rows = upload(&valid_rows, device)?;
            let select = |logits: Tensor| logits.f_index_select(0, &device_rows);
            (select(student)?, select(teacher)?, valid_rows.size1()?)
        }
    };
    let count = if config.over == SoftmaxOver::Row { row_count } else { position_count };
    let (log_p, log_q) =
        (teacher.f_log_softmax(1, None::<Kind>)?, student.f_log_softmax(1, None::<Kind>)?);
    let p = log_p.f_exp()?;
    // Where p = 0 the term is 0, but -∞ - (-∞) would be NaN.
    let log_ratio = log_p.f_sub(&log_q)?.f_masked_fill(&p.f_eq(0.0)?, 0.0)?;
    let divergence = p.f_mul(&log_ratio)?.f_sum(None::<Kind>)?;
    Ok(divergence.f_mul_scalar(config.temperature.powi(2) / count as f64)?)
}
