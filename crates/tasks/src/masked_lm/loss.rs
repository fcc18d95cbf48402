//! Masked-LM loss from labels; the head runs only on positions that contribute to the loss.
use objectives::{
    IGNORE_INDEX, MaskedLmConfig, MaskedPositions, TokenScores, masked_lm, masked_positions,
};
use tch::{Device, Tensor};
use torch_ext::autocast_dtype;
use trainer::pad_rows;
use xlmr_model::{Inputs, Model};

use crate::Result;

/// Returns the positions of a batch that contribute to the loss, and their labels, on `device`.
///
/// # Shapes
/// - `labels`: one row for each of B examples, i64, [`IGNORE_INDEX`] at positions without loss;
///   short rows are padded with [`IGNORE_INDEX`] to L
/// - returns indices into `[B · L]` and targets, `[N]` i64 each; N may be 0
///
/// # Errors
/// [`Error::Loss`](crate::Error::Loss) if a label is negative and not [`IGNORE_INDEX`].
pub(crate) fn target_positions(labels: &[&[i64]], device: Device) -> Result<MaskedPositions> {
    let labels = pad_rows(labels, IGNORE_INDEX, Device::Cpu)?;
    Ok(masked_positions(&labels)?.to_device(device)?)
}

/// Runs the masked-LM head on the hidden states of some positions and passes its scores to `loss`.
///
/// This function is for custom losses. [`loss_from_hidden`] computes the usual cross-entropy.
///
/// # Shapes
/// - `hidden`: `[B, L, H]` float; receives gradient
/// - `positions`: N of the B · L positions
/// - `loss` receives scores of shape `[N, V]`; the logits are computed in chunks
///
/// # Errors
/// If the model has no masked-LM head, `hidden` does not fit the positions, or `loss` fails.
pub(crate) fn with_scores<T>(
    model: &Model,
    hidden: &Tensor,
    positions: &MaskedPositions,
    loss: impl FnOnce(TokenScores<'_>) -> Result<T, objectives::Error>,
) -> Result<T> {
    let mut rows = model.mlm_transform(&positions.gather(hidden)?)?; // [N, H]
    let (weight, bias) = model.decoder()?;
    if autocast_dtype(rows.device())?.is_none() {
        // During evaluation in low precision, the loss is computed in the dtype of the parameters.
        rows = rows.f_to_kind(weight.kind())?;
    }
    Ok(loss(TokenScores::linear(&rows, weight, Some(bias)))?)
}

/// Computes the masked-LM loss `[]` of hidden states; `None` if no position contributes to the
/// loss.
///
/// This function is for tasks that also use the hidden states in another head.
///
/// # Shapes
/// - `hidden`: `[B, L, H]` float; receives gradient
/// - `labels`: B rows of at most L i64, [`IGNORE_INDEX`] at positions without loss; the longest row
///   has L
/// - returns `[]`, see [`objectives::masked_lm`](objectives::masked_lm())
///
/// # Errors
/// [`Error::Loss`](crate::Error::Loss) if a label is negative and not [`IGNORE_INDEX`]; the errors
/// of [`objectives::masked_lm`](objectives::masked_lm()); if the model has no masked-LM head.
///
/// # Example
/// ```
/// use objectives::MaskedLmConfig;
/// use tasks::masked_lm::loss_from_hidden;
/// use tasks::pooling::encode;
/// use xlmr_model::{Config, Head, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let hidden = encode(&model, &[&[0, 4, 8, 2]], false)?;
/// let config = MaskedLmConfig::default();
/// assert!(loss_from_hidden(&model, &hidden, &[&[-100, 7, -100, -100]], &config)?.is_some());
/// assert!(loss_from_hidden(&model, &hidden, &[&[-100; 4]], &config)?.is_none());
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn loss_from_hidden(
    model: &Model,
    hidden: &Tensor,
    labels: &[&[i64]],
    config: &MaskedLmConfig,
) -> Result<Option<Tensor>> {
    let positions = target_positions(labels, Device::Cpu)?; // checked without waiting for a GPU
    if positions.is_empty() {
        return Ok(None);
    }
    let loss = |scores: TokenScores<'_>| masked_lm(scores, &positions.targets, config);
    with_scores(model, hidden, &positions, loss).map(Some)
}

/// Computes the masked-LM loss `[]` of a batch in training mode.
///
/// If no position contributes to the loss, the encoder does not run and the result is `None`.
///
/// # Shapes
/// - `inputs`: `[B, L]`, with masked tokens already replaced, see [`Inputs::from_rows`]
/// - `labels`: B rows of at most L i64, [`IGNORE_INDEX`] at positions without loss; the longest row
///   has L
/// - returns `[]`, see [`objectives::masked_lm`](objectives::masked_lm())
///
/// # Errors
/// The errors of [`loss_from_hidden`]; if an input does not fit the model.
///
/// # Example
/// ```
/// use objectives::MaskedLmConfig;
/// use xlmr_model::{Config, Head, Inputs, Model};
///
/// let model = Model::new(&Config::tiny(50), &[Head::MaskedLm], tch::Device::Cpu, 1)?;
/// let inputs = Inputs::from_rows(&[&[0, 4, 8, 2], &[0, 4, 2]], 1)?;
/// let labels: [&[i64]; 2] = [&[-100, 7, -100, -100], &[-100, 9, -100]];
/// let loss = tasks::masked_lm::loss(&model, &inputs, &labels, &MaskedLmConfig::default())?;
/// assert!(loss.is_some_and(|loss| loss.requires_grad()));
/// # Ok::<(), tasks::Error>(())
/// ```
pub fn loss(
    model: &Model,
    inputs: &Inputs,
    labels: &[&[i64]],
    config: &MaskedLmConfig,
) -> Result<Option<Tensor>> {
    if labels.iter().all(|row| row.iter().all(|&label| label == IGNORE_INDEX)) {
        return Ok(None);
    }
    loss_from_hidden(model, &model.encode(inputs, true)?, labels, config)
}

#[cfg(test)]
mod tests {
    use objectives::MaskedLmReduction;
    use tch::Kind;

    use super::*;
    use crate::testing::{cross_entropy, model};

    const IGNORED: i64 = IGNORE_INDEX;

    /// Reference implementation in float64: each row is encoded separately, without padding, and
    /// each position has a separate loss.
    fn reference_losses(model: &xlmr_model::Model, rows: &[&[u32]], labels: &[&[i64]]) -> Vec<f64> {
        let mut losses = Vec::new();
        for (row, labels) in rows.iter().zip(labels) {
            let hidden = model.encode(&Inputs::from_rows(&[row], 1).unwrap(), false).unwrap();
            let logits = model.mlm_logits(&hidden).unwrap().squeeze_dim(0).to_kind(Kind::Double);
            let logits = Vec::<Vec<f64>>::try_from(logits).unwrap();
            for (row, &label) in logits.iter().zip(*labels) {
                if label != IGNORED {
                    losses.push(cross_entropy(row, label));
                }
            }
        }
        losses
    }

    #[test]
    fn the_loss_equals_the_reference() {
        let model = model(80);
        let rows: [&[u32]; 3] = [&[0, 4, 17, 4, 2], &[0, 9, 4, 2], &[0, 5, 6, 7, 8, 9, 2]];
        let labels: [&[i64]; 3] =
            [&[IGNORED, 11, IGNORED, 70, IGNORED], &[IGNORED, IGNORED, 33, IGNORED], &[IGNORED; 7]];
        let inputs = || Inputs::from_rows(&rows, 1).unwrap();
        let expected = reference_losses(&model, &rows, &labels);
        assert_eq!(expected.len(), 3);
        for (reduction, expected) in [
            (MaskedLmReduction::Mean, expected.iter().sum::<f64>() / 3.0),
            (MaskedLmReduction::Sum, expected.iter().sum()),
        ] {
            let config = MaskedLmConfig { reduction };
            let actual = loss(&model, &inputs(), &labels, &config).unwrap().unwrap();
            let actual = actual.double_value(&[]);
            assert!(
                (actual - expected).abs() < 1e-5,
                "{reduction:?}: got {actual}, expected {expected}"
            );
            let hidden = model.encode(&inputs(), false).unwrap();
            let from_hidden = loss_from_hidden(&model, &hidden, &labels, &config).unwrap().unwrap();
            assert_eq!(from_hidden.double_value(&[]), actual);
        }
    }

    #[test]
    fn no_targets_give_no_loss_and_no_forward_pass() {
        let model = model(80);
        let config = MaskedLmConfig::default();
        // The model rejects this id, so a result without error shows that the encoder did not run.
        let inputs = Inputs::from_rows(&[&[0, 999, 2]], 1).unwrap();
        assert!(loss(&model, &inputs, &[&[IGNORED; 3]], &config).unwrap().is_none());
        assert!(loss(&model, &inputs, &[&[IGNORED, 5, IGNORED]], &config).is_err());
        assert!(loss(&model, &inputs, &[], &config).unwrap().is_none());
        let positions =
            target_positions(&[&[IGNORED, 7, IGNORED], &[IGNORED, 9]], Device::Cpu).unwrap();
        assert_eq!(Vec::<i64>::try_from(&positions.indices).unwrap(), [1, 4]);
        assert_eq!(Vec::<i64>::try_from(&positions.targets).unwrap(), [7, 9]);
        assert!(target_positions(&[&[IGNORED; 2]], Device::Cpu).unwrap().is_empty());
        assert!(target_positions(&[&[-1]], Device::Cpu).is_err());
    }
}
