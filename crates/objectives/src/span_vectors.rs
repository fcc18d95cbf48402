//! One vector per span: the mean of its tokens.
use tch::{Device, Kind, Tensor};
use torch_ext::without_autocast;

use crate::checks::{check_float, shape_of};
use crate::span_checks::reduction_kind;
use crate::{CandidateSpans, Error};

/// Computes the mean of the hidden states of each span's tokens, `u = (1 / (e - s + 1)) Σ_{t=s..e}
/// X_t` (*From Good to Best*, Eq. 6).
///
/// Reading: hidden states come from the encoder's pass over question and context, not from a second
/// pass over the answer.
///
/// Only the tokens of the spans are read; all other positions of `hidden` receive a gradient of
/// exactly 0.
///
/// # Shapes
/// - `hidden`: `[B, L, H]` Float, BFloat16, Half or Double; receives gradient
/// - `spans`: tensors `[B, S]`
/// - returns `[B, S, H]`: f64 for f64 hidden states, f32 for all others (the sum runs in it); 0 in
///   empty slots
///
/// # Errors
/// [`Error::Range`] if a span leaves the window; [`Error::Reversed`] if one ends before it starts;
/// [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid
/// tensors.
///
/// # Example
/// ```
/// use objectives::{CandidateSpans, span_vectors, tch::{Kind, Tensor}};
///
/// let hidden = Tensor::from_slice(&[1_f32, 3.0, 8.0]).view([1, 3, 1]); // L = 3, H = 1
/// let row = |values: &[i64]| Tensor::from_slice(values).view([1, -1]);
/// let (starts, ends, valid) = (row(&[0, 1]), row(&[1, 2]), row(&[1, 1]).to_kind(Kind::Bool));
/// let spans = CandidateSpans { starts: &starts, ends: &ends, valid: &valid };
/// let vectors = span_vectors(&hidden, &spans)?;
/// assert_eq!(Vec::<f32>::try_from(vectors.view([-1]))?, [2.0, 5.5]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn span_vectors(hidden: &Tensor, spans: &CandidateSpans<'_>) -> Result<Tensor, Error> {
    let [batch, length, _] = check_hidden(hidden)?;
    let spans = spans.check_batch(batch, length, "hidden", hidden.device())?;
    let members = members(&spans.starts, &spans.ends, &spans.valid, length)?;
    without_autocast(|| mean_of_members(hidden, &members))?
}

/// The sizes of hidden states `[B, L, H]`.
pub(crate) fn check_hidden(hidden: &Tensor) -> Result<[i64; 3], Error> {
    let sizes = match *shape_of("hidden", hidden)?.as_slice() {
        [batch, length, size] => [batch, length, size],
        ref got => {
            let (expected, got) = ("[B, L, H]".into(), got.to_vec());
            return Err(Error::Shape { tensor: "hidden", expected, got });
        }
    };
    check_float("hidden", hidden)?;
    Ok(sizes)
}

/// `[B, S, L]` bool: which tokens each span holds, for spans `[B, S]`.
pub(crate) fn members(
    starts: &Tensor,
    ends: &Tensor,
    valid: &Tensor,
    length: i64,
) -> Result<Tensor, Error> {
    let position = Tensor::f_arange(length, (Kind::Int64, starts.device()))?;
    let after = position.f_ge_tensor(&starts.f_unsqueeze(2)?)?;
    let before = position.f_le_tensor(&ends.f_unsqueeze(2)?)?;
    Ok(after.f_logical_and(&before)?.f_logical_and(&valid.f_unsqueeze(2)?)?)
}

/// The mean over the tokens that `members` `[B, S, L]` marks, `[B, S, H]`; 0 where it marks none.
pub(crate) fn mean_of_members(hidden: &Tensor, members: &Tensor) -> Result<Tensor, Error> {
    match hidden.device() {
        Device::Cpu => gathered_means(hidden, members),
        _ => means_by_product(hidden, members),
    }
}

/// As a product with a matrix of shares: on a GPU little work, and nothing waits for the number of
/// tokens that are marked.
fn means_by_product(hidden: &Tensor, members: &Tensor) -> Result<Tensor, Error> {
    let kind = reduction_kind(hidden)?;
    let unused = members.f_any_dim(1, false)?.f_logical_not()?.f_unsqueeze(2)?; // [B, L, 1]
    let table = hidden.f_to_kind(kind)?.f_masked_fill(&unused, 0.0)?;
    let counts = members.f_sum_dim_intlist(2, true, kind)?.f_clamp_min(1.0)?;
    Ok(members.f_to_kind(kind)?.f_bmm(&table)?.f_div(&counts)?)
}

/// From the marked tokens alone.
fn gathered_means(hidden: &Tensor, members: &Tensor) -> Result<Tensor, Error> {
    let (batch, slots, length) = members.size3()?;
    let size = check_hidden(hidden)?[2];
    let kind = reduction_kind(hidden)?;
    let found = members.f_nonzero()?; // [T, 3], slot after slot
    if found.size2()?.0 == 0 {
        return Ok(Tensor::f_zeros([batch, slots, size], (kind, hidden.device()))?);
    }
    let tokens = found.f_select(1, 0)?.f_mul_scalar(length)?.f_add(&found.f_select(1, 2)?)?;
    let counts = members.f_sum_dim_intlist(2, false, Kind::Int64)?.f_reshape([-1])?;
    let offsets = counts.f_cumsum(0, None)?.f_sub(&counts)?;
    let table = hidden.f_reshape([batch * length, size])?.f_to_kind(kind)?;
    const MEAN: i64 = 1;
    let (means, ..) = Tensor::f_embedding_bag::<Tensor>(
        &table, &tokens, &offsets, false, MEAN, false, None, false,
    )?;
    Ok(means.f_view([batch, slots, size])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_product_are_those_of_the_tokens_alone() {
        tch::manual_seed(5);
        let ids = |values: &[i64]| Tensor::from_slice(values).view([2, 3]);
        let (starts, ends) = (ids(&[0, 2, 3, 1, 0, 0]), ids(&[0, 4, 3, 4, 0, 0]));
        let valid = ids(&[1, 1, 0, 1, 0, 0]).to_kind(Kind::Bool);
        let members = members(&starts, &ends, &valid, 6).unwrap();
        for kind in [Kind::Double, Kind::BFloat16] {
            let numbers = Tensor::randn([2, 6, 5], (kind, Device::Cpu));
            // No span holds the last token of either row, nor the first of the second.
            let _ = numbers.select(1, 5).fill_(f64::NAN);
            let _ = numbers.get(1).get(0).fill_(f64::INFINITY);
            let run = |means: fn(&Tensor, &Tensor) -> Result<Tensor, Error>| {
                let hidden = numbers.detach().copy().set_requires_grad(true);
                let out = means(&hidden, &members).unwrap();
                (&out * Tensor::arange(5, (Kind::Double, Device::Cpu)))
                    .sum(Kind::Double)
                    .backward();
                (out, hidden.grad())
            };
            let ((ours, ours_grad), (theirs, theirs_grad)) =
                (run(means_by_product), run(gathered_means));
            assert_eq!(ours.kind(), theirs.kind());
            assert!(ours.allclose(&theirs, 1e-5, 1e-6, false), "{kind:?}");
            assert!(ours_grad.allclose(&theirs_grad, 1e-2, 1e-6, false), "{kind:?}");
            assert_eq!(ours_grad.select(1, 5).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
    }
}
