//! Batched inference without gradients.
use tch::{Device, Kind, Tensor, no_grad};
use xlmr_model::{Inputs, Model};

use crate::{Error, Result, batch};

/// Encodes rows in batches of similar length and returns the results of `compute` in the order of
/// the rows.
///
/// The arguments of `compute` are the indices of the rows, their inputs and the hidden states
/// `[B, L, H]`.
pub(crate) fn map_rows<T>(
    model: &Model,
    rows: &[&[u32]],
    batch_size: usize,
    compute: impl Fn(&[usize], &Inputs, &Tensor) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    map_rows_in_language(model, rows, None, batch_size, compute)
}

/// Like [`map_rows`], with inputs in a language, if one is given.
pub(crate) fn map_rows_in_language<T>(
    model: &Model,
    rows: &[&[u32]],
    language: Option<&str>,
    batch_size: usize,
    compute: impl Fn(&[usize], &Inputs, &Tensor) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    batch::compute_by_length(&lengths, batch_size, |indices| {
        let rows: Vec<&[u32]> = indices.iter().map(|&k| rows[k]).collect();
        let mut inputs = batch::pair_inputs(model, &rows)?;
        if let Some(language) = language {
            inputs = inputs.with_languages(rows.iter().map(|_| language));
        }
        no_grad(|| compute(indices, &inputs, &model.encode(&inputs, false)?))
    })
}

/// Rejects logits that are not finite, because their argmax is meaningless.
pub(crate) fn check_finite(logits: Tensor) -> Result<Tensor> {
    if logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1 {
        return Ok(logits);
    }
    Err(Error::data("logits", "finite numbers", "NaN or infinity; did training diverge?"))
}

/// Returns the index of the largest logit of each row, in the order of the rows. `logits` has the
/// shape `[…, C]`; each index is below C.
pub(crate) fn argmax_rows(logits: Tensor) -> Result<Vec<usize>> {
    let indices = check_finite(logits)?.f_argmax(-1, false)?.f_contiguous()?.f_view([-1])?;
    let index =
        |value: i64| usize::try_from(value).map_err(|_| Error::data("argmax", "an index", value));
    Vec::<i64>::try_from(indices)?.into_iter().map(index).collect()
}

/// Converts `[B, L]` logits on any device to one list per row, truncated to `lengths`.
pub(crate) fn to_lists(logits: &Tensor, lengths: &[usize]) -> Result<Vec<Vec<f32>>> {
    let logits = logits.f_to_kind(Kind::Float)?.f_to_device(Device::Cpu)?;
    let mut rows = Vec::<Vec<f32>>::try_from(&logits)?;
    assert_eq!(rows.len(), lengths.len(), "logits have one row per length");
    rows.iter_mut().zip(lengths).for_each(|(row, &length)| row.truncate(length));
    Ok(rows)
}
