//! Pooling of hidden states to one vector per row.
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor, no_grad};
use torch_ext::{to_i64, to_usize, upload};
use xlmr_model::{Inputs, Model};

use crate::{Error, Result, batch};

/// Pooling of a text's hidden states to one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// The hidden state of `<s>`, as in XLM-K.
    #[default]
    First,
    /// The mean of all tokens' hidden states, for encoders whose `<s>` is untrained.
    Mean,
    /// The mean of the hidden states of all positions, including padding, as in the released code
    /// of *Adapters for Enhanced Modeling of Multilingual Knowledge and Text*. A text's vector then
    /// depends on the longest text of its batch. If the encoder skips padding, the hidden states of
    /// padding are zero.
    AllPositions,
}

/// Computes hidden states `[B, L, H]` of rows of token ids.
///
/// # Errors
/// If a row does not fit the model.
///
/// # Example
/// ```
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let hidden = tasks::pooling::encode(&model, &[&[0, 7, 8, 2], &[0, 9, 2]], false)?;
/// assert_eq!(hidden.size(), [2, 4, model.config().hidden_size]);
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn encode(model: &Model, rows: &[&[u32]], train: bool) -> Result<Tensor> {
    Ok(model.encode(&Inputs::from_rows(rows, model.config().pad_token_id)?, train)?)
}

/// Computes the vector of each row of token ids, `[B, H]`.
///
/// # Errors
/// If a row does not fit the model.
pub(crate) fn pool_rows(
    model: &Model,
    rows: &[&[u32]],
    pooling: Pooling,
    train: bool,
) -> Result<Tensor> {
    let inputs = Inputs::from_rows(rows, model.config().pad_token_id)?;
    pool(&model.encode(&inputs, train)?, &inputs, pooling)
}

/// Pools hidden states `[B, L, H]` to one vector per row, `[B, H]`.
///
/// # Errors
/// [`Error::Torch`] if libtorch fails.
pub(crate) fn pool(hidden: &Tensor, inputs: &Inputs, pooling: Pooling) -> Result<Tensor> {
    match (pooling, &inputs.attention_mask) {
        (Pooling::First, _) => Ok(hidden.f_select(1, 0)?),
        (Pooling::Mean, None) | (Pooling::AllPositions, _) => {
            Ok(hidden.f_mean_dim([1i64].as_slice(), false, None::<Kind>)?)
        }
        (Pooling::Mean, Some(mask)) => {
            let mask = upload(mask, hidden.device())?.f_to_kind(hidden.f_kind()?)?;
            let counts = mask.f_sum_dim_intlist([1i64].as_slice(), true, None::<Kind>)?;
            let sums = hidden.f_mul(&mask.f_unsqueeze(2)?)?;
            let sums = sums.f_sum_dim_intlist([1i64].as_slice(), false, None::<Kind>)?;
            Ok(sums.f_div(&counts)?)
        }
    }
}

/// Computes one vector per row of token ids, `[rows, H]`, in batches of similar length.
///
/// # Errors
/// [`Error::Config`] if `batch_size` is 0; the errors of [`encode`].
///
/// # Example
/// ```
/// use tasks::pooling::{Pooling, embed};
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::None], tch::Device::Cpu, 1)?;
/// let vectors = embed(&model, &[&[0, 7, 8, 2], &[0, 9, 2]], Pooling::Mean, 8)?;
/// assert_eq!(vectors.dim(), (2, 128));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn embed(
    model: &Model,
    rows: &[&[u32]],
    pooling: Pooling,
    batch_size: usize,
) -> Result<Array2<f32>> {
    let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
    let vectors = batch::compute_by_length_with_progress(false, &lengths, batch_size, |indices| {
        let rows: Vec<&[u32]> = indices.iter().map(|&k| rows[k]).collect();
        let pooled = no_grad(|| pool_rows(model, &rows, pooling, false))?;
        Ok(to_array("text vectors", &pooled)?.outer_iter().map(|row| row.to_vec()).collect())
    })?;
    let shape = (vectors.len(), to_usize(model.config().hidden_size));
    Array2::from_shape_vec(shape, vectors.concat())
        .map_err(|error| Error::data("text vectors", "a full array", error))
}

/// Selects the hidden state at one position of each row: `[B, L, H]` to `[B, H]`.
///
/// # Errors
/// [`Error::Data`] if there is not one position for each row, or a position is not below L.
pub(crate) fn at_positions(hidden: &Tensor, positions: &[usize]) -> Result<Tensor> {
    let (rows, length, _) = hidden.size3()?;
    let positions: Vec<i64> = positions.iter().copied().map(to_i64).collect();
    if positions.iter().any(|&position| position >= length) {
        return Err(Error::data("positions", format!("below {length}"), format!("{positions:?}")));
    }
    if to_i64(positions.len()) != rows {
        return Err(Error::data(
            "positions",
            format!("one for each of {rows} rows"),
            positions.len(),
        ));
    }
    let first = Tensor::f_arange(rows, (Kind::Int64, Device::Cpu))?.f_mul_scalar(length)?;
    let index = first.f_add(&Tensor::f_from_slice(&positions)?)?;
    let index = upload(&index, hidden.device())?;
    Ok(hidden.f_flatten(0, 1)?.f_index_select(0, &index)?)
}

/// Copies a `[rows, D]` float tensor to an array on the CPU.
///
/// # Errors
/// [`Error::Data`] naming `name` if the tensor does not have two dimensions.
pub(crate) fn to_array(name: &str, tensor: &Tensor) -> Result<Array2<f32>> {
    let size = tensor.size();
    let shape: Vec<usize> = size.iter().copied().map(to_usize).collect();
    let &[rows, width] = shape.as_slice() else {
        return Err(Error::data(name, "shape [rows, D]", format!("{size:?}")));
    };
    let flat = tensor.f_detach()?.f_to_kind(Kind::Float)?.f_contiguous()?.f_view([-1])?;
    let values = Vec::<f32>::try_from(flat.f_to_device(Device::Cpu)?)?;
    Array2::from_shape_vec((rows, width), values)
        .map_err(|error| Error::data(name, "a full array", error))
}

#[cfg(test)]
mod tests {
    use xlmr_model::{Config, Head, Model};

    use super::*;

    #[test]
    fn each_row_has_one_vector() {
        let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], Device::Cpu, 1).unwrap();
        let vectors = pool_rows(&model, &[&[0, 7, 2], &[0, 2]], Pooling::Mean, false).unwrap();
        assert_eq!(vectors.size(), [2, model.config().hidden_size]);
        let hidden = Tensor::arange(12, (Kind::Float, Device::Cpu)).view([2, 3, 2]);
        let states = at_positions(&hidden, &[2, 0]).unwrap();
        assert_eq!(Vec::<Vec<f32>>::try_from(&states).unwrap(), [[4.0, 5.0], [6.0, 7.0]]);
        assert!(at_positions(&hidden, &[3, 0]).is_err());
    }

    #[test]
    fn padding_is_pooled_only_with_all_positions() {
        let model = crate::testing::model(50);
        let (short, long): (&[u32], &[u32]) = (&[0, 9, 2], &[0, 7, 8, 5, 6, 2]);
        let difference = |pooling| {
            let unpadded = pool_rows(&model, &[short], pooling, false).unwrap().get(0);
            let padded = pool_rows(&model, &[short, long], pooling, false).unwrap().get(0);
            (unpadded - padded).abs().max().double_value(&[])
        };
        assert!(difference(Pooling::Mean) < 1e-6 && difference(Pooling::First) < 1e-6);
        assert!(difference(Pooling::AllPositions) > 1e-2, "{}", difference(Pooling::AllPositions));
        // Without padding, `AllPositions` and `Mean` are equal.
        let [all_positions, mean] = [Pooling::AllPositions, Pooling::Mean]
            .map(|pooling| pool_rows(&model, &[long], pooling, false).unwrap());
        assert_eq!(all_positions, mean);
    }

    #[test]
    fn tensors_are_copied_to_arrays() {
        let tensor = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0]).view([2, 3]);
        let array = to_array("x", &tensor.transpose(0, 1)).unwrap();
        assert_eq!(array, ndarray::array![[1.0, 4.0], [2.0, 5.0], [3.0, 6.0]]);
        let error = to_array("x", &tensor.view([-1])).unwrap_err().to_string();
        assert_eq!(error, "x: expected shape [rows, D], got [6]");
    }
}
