//! A sum of losses with learned weights.
use tch::{Kind, Tensor};
use torch_ext::to_i64;

use crate::Error;
use crate::checks::{check_device, check_float, check_shape};

/// Computes `Σ e^(-sᵢ) Lᵢ + sᵢ` with learned log-variances s, the weighting of task losses by
/// uncertainty (Kendall et al. 2018) as in UMAEA's released code.
///
/// For a positive loss, the best s is ln L, at which the gradient of s is 0. UMAEA initialises s with
/// 0, so that all weights are 1.
///
/// An absent loss (`None`), such as a contrastive loss of a batch without a valid row, is not part
/// of the sum, and its log-variance receives a gradient of exactly 0. The released code adds `sᵢ`
/// for absent losses, too, so that s decreases in every step without bound.
///
/// # Shapes
/// - `losses`: `K` losses `[]` on one device; they receive gradient
/// - `log_variances`: `[K]` Float, BFloat16, Half or Double, on the device of the losses; receives
///   gradient
/// - returns `[]`: f64 for f64 `log_variances`, f32 for all others
///
/// # Errors
/// [`Error::Missing`] if all losses are absent; [`Error::Shape`], [`Error::Dtype`],
/// [`Error::Device`] or [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::Tensor;
/// use objectives::uncertainty_weighting;
///
/// let (first, second) = (Tensor::from(4_f64), Tensor::from(2_f64));
/// let log_variances = Tensor::from_slice(&[2_f64.ln(), 0.0]);
/// let total = uncertainty_weighting(&[Some(&first), Some(&second)], &log_variances)?;
/// assert!((total.double_value(&[]) - (4.0 / 2.0 + 2_f64.ln() + 2.0)).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn uncertainty_weighting(
    losses: &[Option<&Tensor>],
    log_variances: &Tensor,
) -> Result<Tensor, Error> {
    let count = to_i64(losses.len());
    check_shape("log_variances", log_variances, &[count], "[K]")?;
    check_float("log_variances", log_variances)?;
    let kind = match log_variances.f_kind()? {
        Kind::Double => Kind::Double,
        _ => Kind::Float,
    };
    let log_variances = log_variances.f_to_kind(kind)?;
    let mut total: Option<Tensor> = None;
    for (index, loss) in (0..).zip(losses) {
        let Some(loss) = loss else { continue };
        check_shape("losses", loss, &[], "[]")?;
        check_float("losses", loss)?;
        check_device("losses", loss, "log_variances", log_variances.device())?;
        let log_variance = log_variances.f_select(0, index)?;
        let weight = log_variance.f_neg()?.f_exp()?;
        let term = loss.f_to_kind(kind)?.f_mul(&weight)?.f_add(&log_variance)?;
        total = Some(match total {
            Some(total) => total.f_add(&term)?,
            None => term,
        });
    }
    let reason = "all losses are absent; skip this batch";
    total.ok_or(Error::Missing { argument: "losses", reason })
}
