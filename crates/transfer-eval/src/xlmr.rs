//! An [`xlmr_model::Model`] over the tasks' inputs. Needs the feature `xlmr` and libtorch.
use ndarray::Array2;
use tch::{Kind, Tensor};
use xlmr_model::{Inputs, Model};

use crate::lama::{Candidates, Cloze, rank_golds};
use crate::ner::NerInput;
use crate::xnli::{NliInput, NliLabel};
use crate::{Error, Result, Ties};

/// The best label at every position of each input, `[L]` each, for [`sentence_tags`](crate::ner::sentence_tags).
///
/// # Errors
/// [`Error::Model`] if the model has no token classification head or refuses an input; [`Error::Array`] if a logit is not finite;
/// [`Error::Config`] if `batch_size` is 0.
pub fn best_labels(
    model: &Model,
    inputs: &[NerInput],
    batch_size: usize,
) -> Result<Vec<Vec<usize>>> {
    let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
    in_batches(model, &rows, batch_size, |_, hidden| {
        let labels = finite(model.token_logits(&hidden, false)?)?.f_argmax(-1, false)?;
        let labels = Vec::<i64>::try_from(labels.f_contiguous()?.f_view([-1])?)?;
        let length =
            usize::try_from(hidden.size().get(1).copied().unwrap_or_default()).unwrap_or(0);
        Ok(labels
            .chunks(length.max(1))
            .map(|row| row.iter().map(|&l| index(l)).collect())
            .collect())
    })
    .map(|all: Vec<Vec<usize>>| {
        all.into_iter()
            .zip(&rows)
            .map(|(mut labels, row)| {
                labels.truncate(row.len());
                labels
            })
            .collect()
    })
}

/// The best label of each pair, for [`score_nli`](crate::xnli::score_nli).
///
/// # Errors
/// [`Error::Model`] if the model has no sequence classification head or refuses an input; [`Error::Array`] if that head has not three
/// labels, or a logit is not finite; [`Error::Config`] if `batch_size` is 0.
pub fn classify(model: &Model, inputs: &[NliInput], batch_size: usize) -> Result<Vec<NliLabel>> {
    let rows: Vec<&[u32]> = inputs.iter().map(|input| input.input_ids.as_slice()).collect();
    in_batches(model, &rows, batch_size, |_, hidden| {
        let logits = finite(model.sequence_logits(&hidden, false)?)?;
        if logits.size().last() != Some(&3) {
            return Err(Error::array(
                "logits",
                format!("shape {:?}; expected [B, 3]", logits.size()),
            ));
        }
        let classes = Vec::<i64>::try_from(logits.f_argmax(-1, false)?)?;
        let label = |class: i64| NliLabel::from_class(index(class));
        Ok(classes.into_iter().filter_map(label).collect())
    })
}

/// The rank of each cloze's gold piece, for [`score_lama`](crate::lama::score_lama). Only one batch's scores over the vocabulary are
/// held at once.
///
/// # Errors
/// [`Error::Model`] if the model has no masked-LM head or refuses an input; [`Error::Config`] if `batch_size` is 0; else as for
/// [`rank_golds`].
pub fn rank_clozes(
    model: &Model,
    clozes: &[Cloze],
    candidates: Option<&Candidates>,
    ties: Ties,
    batch_size: usize,
) -> Result<Vec<Option<usize>>> {
    let rows: Vec<&[u32]> = clozes.iter().map(|cloze| cloze.input_ids.as_slice()).collect();
    in_batches(model, &rows, batch_size, |batch, hidden| {
        let of_batch: Vec<Cloze> = batch.iter().filter_map(|&k| clozes.get(k)).cloned().collect();
        let masks: Vec<i64> =
            of_batch.iter().map(|cloze| i64::try_from(cloze.mask).unwrap_or(i64::MAX)).collect();
        let width = hidden.size().get(1).copied().unwrap_or_default();
        if let Some((k, mask)) = batch.iter().zip(&masks).find(|&(_, &mask)| mask >= width) {
            let message = format!("mask at {mask}, but the input has {width} pieces");
            return Err(Error::Mismatch { what: "cloze", index: k + 1, line: None, message });
        }
        let count = hidden.size().first().copied().unwrap_or_default();
        let masks = Tensor::f_from_slice(&masks)?.f_to_device(hidden.device())?;
        let order = Tensor::f_arange(count, (Kind::Int64, hidden.device()))?;
        let at = hidden.f_index(&[Some(order), Some(masks)])?;
        let logits = to_array("logits", &model.mlm_logits(&at)?)?;
        rank_golds(logits.view(), &of_batch, candidates, ties).map_err(|error| match error {
            // Counted in the batch; the caller counts in the whole.
            Error::Mismatch { what, index, line, message } => {
                let k = batch.get(index - 1).map_or(index, |k| k + 1);
                Error::Mismatch { what, index: k, line, message }
            }
            other => other,
        })
    })
}

/// A `[rows, D]` float tensor as an array on the CPU, for [`rank_candidates`](crate::retrieval::rank_candidates).
///
/// # Errors
/// [`Error::Array`] naming `name` if the tensor has not two dimensions; [`Error::Torch`].
pub fn to_array(name: &'static str, tensor: &Tensor) -> Result<Array2<f32>> {
    let size = tensor.size();
    let &[rows, width] = size.as_slice() else {
        return Err(Error::array(name, format!("shape {size:?}; expected [rows, D]")));
    };
    let flat = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    let values = Vec::<f32>::try_from(flat.f_to_device(tch::Device::Cpu)?)?;
    Array2::from_shape_vec((index(rows), index(width)), values)
        .map_err(|error| Error::array(name, error.to_string()))
}

/// Logits of which the largest is meaningful.
fn finite(logits: Tensor) -> Result<Tensor> {
    if logits.f_isfinite()?.f_all()?.f_int64_value(&[])? == 1 {
        return Ok(logits);
    }
    Err(Error::array("logits", "not finite; did training diverge?"))
}

fn index(value: i64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// Encodes rows in batches of like length, without gradient, and puts what `read` gives for each row back in order. `read` takes the
/// rows' indices and the hidden states `[B, L, H]`.
fn in_batches<T>(
    model: &Model,
    rows: &[&[u32]],
    batch_size: usize,
    read: impl Fn(&[usize], Tensor) -> Result<Vec<T>>,
) -> Result<Vec<T>> {
    if batch_size == 0 {
        let rule = "at least 1".into();
        return Err(Error::Config { key: "batch_size", value: "0".into(), rule });
    }
    let mut order: Vec<usize> = (0..rows.len()).collect();
    order.sort_by_key(|&k| rows.get(k).map_or(0, |row| row.len()));
    let mut out: Vec<(usize, T)> = Vec::with_capacity(rows.len());
    for batch in order.chunks(batch_size) {
        let of_batch: Vec<&[u32]> = batch.iter().filter_map(|&k| rows.get(k).copied()).collect();
        let hidden =
            tch::no_grad(|| model.encode(&padded(model, &of_batch)?, false).map_err(Error::from))?;
        let read = tch::no_grad(|| read(batch, hidden))?;
        out.extend(batch.iter().copied().zip(read));
    }
    out.sort_by_key(|&(k, _)| k);
    Ok(out.into_iter().map(|(_, one)| one).collect())
}

fn padded(model: &Model, rows: &[&[u32]]) -> Result<Inputs> {
    let length = rows.iter().map(|row| row.len()).max().unwrap_or_default();
    let pad = model.config().pad_token_id;
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for row in rows {
        let rest = length - row.len();
        ids.extend(row.iter().map(|&id| i64::from(id)).chain(std::iter::repeat_n(pad, rest)));
        mask.extend(std::iter::repeat_n(1i64, row.len()).chain(std::iter::repeat_n(0, rest)));
    }
    let shape = [rows.len(), length].map(|size| i64::try_from(size).unwrap_or(i64::MAX));
    let tensor = |values: &[i64]| Tensor::f_from_slice(values)?.f_view(shape);
    Ok(Inputs::masked(tensor(&ids)?, tensor(&mask)?))
}
