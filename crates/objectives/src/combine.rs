//! Weighted sums of losses.
use tch::Tensor;

use crate::Error;
use crate::checks::{check_device, check_float, check_shape};

/// One summand of [`combine`].
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// Its name in the report; no two terms share one.
    pub name: &'static str,
    /// Factor; finite. 0 excludes the term from the sum and its graph.
    pub weight: f64,
    /// `[]` Float, BFloat16, Half or Double.
    pub loss: &'a Tensor,
}

/// A weighted sum and its terms; returned by [`combine`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Combined {
    /// `[]`: the weighted sum, ready for `backward()`.
    pub total: Tensor,
    /// `[]` each: the unweighted loss of every term, detached, in the order of the terms.
    pub parts: Vec<(&'static str, Tensor)>,
}

/// Computes `Σ weight · loss` over named terms, and returns each loss for the report.
///
/// A term of weight 0 is reported, but its graph is not part of the sum, so a non-finite loss does
/// not affect it.
///
/// # Errors
/// [`Error::Missing`] if there is no term, or none whose weight is not 0; [`Error::Duplicate`] for
/// a name used twice; [`Error::Domain`] for a weight that is not finite; [`Error::Shape`] for a
/// loss that is not `[]`; [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for an
/// invalid loss. Errors name the term.
///
/// # Example
/// ```
/// use objectives::{Term, combine, tch::Tensor};
///
/// let (masked, span) = (Tensor::from(2_f32).set_requires_grad(true), Tensor::from(3_f32));
/// let sum = combine(&[
///     Term { name: "mlm", weight: 0.5, loss: &masked },
///     Term { name: "span", weight: 1.0, loss: &span },
/// ])?;
/// assert_eq!(sum.total.double_value(&[]), 4.0);
/// assert_eq!(sum.parts[0].1.double_value(&[]), 2.0);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn combine(terms: &[Term<'_>]) -> Result<Combined, Error> {
    let mut total: Option<Tensor> = None;
    let mut parts: Vec<(&'static str, Tensor)> = Vec::with_capacity(terms.len());
    let mut first: Option<&Term<'_>> = None;
    for term in terms {
        let &Term { name, weight, loss } = term;
        if parts.iter().any(|(other, _)| *other == name) {
            return Err(Error::Duplicate { name });
        }
        if !weight.is_finite() {
            let rule = "finite, since it is the weight of a loss";
            return Err(Error::Domain { option: name, value: weight, rule });
        }
        check_shape(name, loss, &[], "[]")?;
        check_float(name, loss)?;
        let like = first.get_or_insert(term);
        check_device(name, loss, like.name, like.loss.device())?;
        parts.push((name, loss.f_detach()?));
        if weight != 0.0 {
            let share = loss.f_mul_scalar(weight)?;
            total = Some(match total {
                Some(sum) => sum.f_add(&share)?,
                None => share,
            });
        }
    }
    let reason = match (total, terms) {
        (Some(total), _) => return Ok(Combined { total, parts }),
        (None, []) => "pass at least one term",
        (None, _) => "every weight is 0, so nothing would be learned",
    };
    Err(Error::Missing { argument: "terms", reason })
}

/// Computes `alpha · contrastive + (1 - alpha) · hard` (*From Good to Best*, Eq. 9; the paper's α
/// is 0.5).
///
/// The terms are reported as `contrastive` and `hard`.
///
/// Reading: the ablations of Table 7 are not written out. Without hard learning Eq. 9 would train
/// no span, so pass the span loss ([`SpanReduction::Sum`](crate::SpanReduction::Sum)) as `hard`.
/// Without contrastive learning only the span side is left, with weight 1, which is `alpha` 0.
///
/// # Shapes
/// - `contrastive`: `[]`, [`answer_contrast`](crate::answer_contrast())
/// - `hard`: `[]`, [`hard_learning`](crate::hard_learning()), on the same device
///
/// # Errors
/// [`Error::Domain`] unless `alpha` is in `[0, 1]`; as [`combine`] for the losses.
///
/// # Example
/// ```
/// use objectives::{mix_by_alpha, tch::Tensor};
///
/// let mixed = mix_by_alpha(&Tensor::from(4_f32), &Tensor::from(2_f32), 0.25)?;
/// assert_eq!(mixed.total.double_value(&[]), 2.5);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn mix_by_alpha(contrastive: &Tensor, hard: &Tensor, alpha: f64) -> Result<Combined, Error> {
    if !(0.0..=1.0).contains(&alpha) {
        return Err(Error::Domain { option: "alpha", value: alpha, rule: "in [0, 1]" });
    }
    combine(&[
        Term { name: "contrastive", weight: alpha, loss: contrastive },
        Term { name: "hard", weight: 1.0 - alpha, loss: hard },
    ])
}
