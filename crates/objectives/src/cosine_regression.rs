//! Regression of cosine similarities on target similarities.
use tch::{Kind, Tensor};

use crate::Error;
use crate::checks::{check_device, check_float, check_matrix, check_shape};
use crate::span_checks::reduction_kind;

/// Minimum divisor; a vector with a smaller norm is divided by this value instead of its norm.
const MIN_NORM: f64 = 1e-8;

/// Computes the mean squared error of cosine similarities, `1/B Σᵢ (cos(uᵢ, vᵢ) − sᵢ)²`.
///
/// This is the loss of the second training step of *IndicSBERT* (Deode et al. 2023). Its target
/// similarities are scores from 0 to 5, divided by 5.
///
/// # Shapes
/// - `first`, `second`: `[B, D]` Float, BFloat16, Half or Double, the vectors uᵢ and vᵢ; both
///   receive gradients. A vector of zeros has the cosine 0 with every vector
/// - `similarities`: `[B]` Float, BFloat16, Half or Double, sᵢ; receives no gradient
/// - returns `[]`: f64 if `first` is f64, else f32
///
/// # Errors
/// [`Error::Empty`] without rows; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::cosine_regression;
/// use objectives::tch::Tensor;
///
/// let first = Tensor::from_slice(&[3.0, 4.0, 1.0, 0.0]).view([2, 2]);
/// let second = Tensor::from_slice(&[1.0, 0.0, 0.0, 2.0]).view([2, 2]); // cosines 0.6 and 0
/// let loss = cosine_regression(&first, &second, &Tensor::from_slice(&[1.0, 0.5]))?;
/// assert!((loss.double_value(&[]) - (0.16 + 0.25) / 2.0).abs() < 1e-12);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn cosine_regression(
    first: &Tensor,
    second: &Tensor,
    similarities: &Tensor,
) -> Result<Tensor, Error> {
    let (batch, width) = check_matrix("first", first, "[B, D]")?;
    check_float("first", first)?;
    let (kind, device) = (reduction_kind(first)?, first.device());
    check_shape("second", second, &[batch, width], "[B, D]")?;
    check_shape("similarities", similarities, &[batch], "[B]")?;
    for (name, tensor) in [("second", second), ("similarities", similarities)] {
        check_float(name, tensor)?;
        check_device(name, tensor, "first", device)?;
    }
    if batch == 0 {
        return Err(Error::Empty { tensor: "first", reason: "no rows" });
    }
    let (first, second) = (first.f_to_kind(kind)?, second.f_to_kind(kind)?);
    // Dividing the dot products by the norms avoids normalised copies of the vectors.
    let dims = [1_i64].as_slice();
    let dot_products = first.f_mul(&second)?.f_sum_dim_intlist(dims, false, kind)?;
    let norm =
        |vectors: &Tensor| vectors.f_norm_scalaropt_dim(2.0, dims, false)?.f_clamp_min(MIN_NORM);
    let cosines = dot_products.f_div(&norm(&first)?.f_mul(&norm(&second)?)?)?;
    let errors = cosines.f_sub(&similarities.f_detach()?.f_to_kind(kind)?)?;
    Ok(errors.f_square()?.f_mean(None::<Kind>)?)
}
