//! Span vectors: the mean hidden state of a span's tokens (*From Good to Best*, Eq. 6).
use tch::{Device, Kind, Tensor};

use crate::Error;
use crate::checks::{check_float, shape_of};
use crate::span_checks::reduction_kind;

/// Checks hidden states `[B, L, H]`, and returns their sizes.
pub(crate) fn check_hidden(hidden: &Tensor) -> Result<[i64; 3], Error> {
    let sizes = match *shape_of("hidden", hidden)?.as_slice() {
        [batch, length, hidden_size] => [batch, length, hidden_size],
        ref got => {
            let (expected, got) = ("[B, L, H]".into(), got.to_vec());
            return Err(Error::Shape { tensor: "hidden", expected, got });
        }
    };
    check_float("hidden", hidden)?;
    Ok(sizes)
}

/// `[B, S, L]` bool: whether each token is in each of the spans `[B, S]`.
pub(crate) fn token_mask(
    starts: &Tensor,
    ends: &Tensor,
    valid: &Tensor,
    length: i64,
) -> Result<Tensor, Error> {
    let position = Tensor::f_arange(length, (Kind::Int64, starts.device()))?;
    let is_at_or_after_start = position.f_ge_tensor(&starts.f_unsqueeze(2)?)?;
    let is_at_or_before_end = position.f_le_tensor(&ends.f_unsqueeze(2)?)?;
    Ok(is_at_or_after_start
        .f_logical_and(&is_at_or_before_end)?
        .f_logical_and(&valid.f_unsqueeze(2)?)?)
}

/// The mean hidden state of each span, `[B, S, H]`: the mean over the tokens where `token_mask`
/// `[B, S, L]` is true, or 0 for spans without tokens.
pub(crate) fn masked_means(hidden: &Tensor, token_mask: &Tensor) -> Result<Tensor, Error> {
    match hidden.device() {
        Device::Cpu => gathered_means(hidden, token_mask),
        _ => means_by_matmul(hidden, token_mask),
    }
}

/// Computes the means by a batched matrix multiplication. On a GPU this is cheap, and the host does
/// not wait for the number of tokens in spans.
fn means_by_matmul(hidden: &Tensor, token_mask: &Tensor) -> Result<Tensor, Error> {
    let kind = reduction_kind(hidden)?;
    let in_no_span = token_mask.f_any_dim(1, false)?.f_logical_not()?.f_unsqueeze(2)?; // [B, L, 1]
    let masked_hidden = hidden.f_to_kind(kind)?.f_masked_fill(&in_no_span, 0.0)?;
    let counts = token_mask.f_sum_dim_intlist(2, true, kind)?.f_clamp_min(1.0)?;
    Ok(token_mask.f_to_kind(kind)?.f_bmm(&masked_hidden)?.f_div(&counts)?)
}

/// Computes the means from the tokens in spans only.
fn gathered_means(hidden: &Tensor, token_mask: &Tensor) -> Result<Tensor, Error> {
    let (batch, slots, length) = token_mask.size3()?;
    let hidden_size = check_hidden(hidden)?[2];
    let kind = reduction_kind(hidden)?;
    let token_indices = token_mask.f_nonzero()?; // [T, 3], ordered by slot
    if token_indices.size2()?.0 == 0 {
        return Ok(Tensor::f_zeros([batch, slots, hidden_size], (kind, hidden.device()))?);
    }
    let tokens = token_indices
        .f_select(1, 0)?
        .f_mul_scalar(length)?
        .f_add(&token_indices.f_select(1, 2)?)?;
    let counts = token_mask.f_sum_dim_intlist(2, false, Kind::Int64)?.f_reshape([-1])?;
    let offsets = counts.f_cumsum(0, None)?.f_sub(&counts)?;
    let rows = hidden.f_reshape([batch * length, hidden_size])?.f_to_kind(kind)?;
    const MEAN: i64 = 1;
    let (means, ..) = Tensor::f_embedding_bag::<Tensor>(
        &rows, &tokens, &offsets, false, MEAN, false, None, false,
    )?;
    Ok(means.f_view([batch, slots, hidden_size])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_by_matmul_equal_gathered_means() {
        tch::manual_seed(5);
        let ids = |values: &[i64]| Tensor::from_slice(values).view([2, 3]);
        let (starts, ends) = (ids(&[0, 2, 3, 1, 0, 0]), ids(&[0, 4, 3, 4, 0, 0]));
        let valid = ids(&[1, 1, 0, 1, 0, 0]).to_kind(Kind::Bool);
        let token_mask = token_mask(&starts, &ends, &valid, 6).unwrap();
        for kind in [Kind::Double, Kind::BFloat16] {
            let values = Tensor::randn([2, 6, 5], (kind, Device::Cpu));
            // No span contains the last token of either row, or the first token of the second row.
            let _ = values.select(1, 5).fill_(f64::NAN);
            let _ = values.get(1).get(0).fill_(f64::INFINITY);
            let run = |means: fn(&Tensor, &Tensor) -> Result<Tensor, Error>| {
                let hidden = values.detach().copy().set_requires_grad(true);
                let out = means(&hidden, &token_mask).unwrap();
                (&out * Tensor::arange(5, (Kind::Double, Device::Cpu)))
                    .sum(Kind::Double)
                    .backward();
                (out, hidden.grad())
            };
            let ((by_matmul, matmul_grad), (by_gather, gather_grad)) =
                (run(means_by_matmul), run(gathered_means));
            assert_eq!(by_matmul.kind(), by_gather.kind());
            assert!(by_matmul.allclose(&by_gather, 1e-5, 1e-6, false), "{kind:?}");
            assert!(matmul_grad.allclose(&gather_grad, 1e-2, 1e-6, false), "{kind:?}");
            assert_eq!(matmul_grad.select(1, 5).abs().sum(Kind::Double).double_value(&[]), 0.0);
        }
    }
}
