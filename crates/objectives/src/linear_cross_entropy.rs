//! Chunked cross-entropy of a linear layer with a large output.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use torch_ext::{LossReduction, upload};

use crate::checks::{check_ids, check_int64, first_true};
use crate::{Checks, Error, IGNORE_INDEX, TokenScores};

/// Options of [`linear_cross_entropy`](linear_cross_entropy()).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearCrossEntropyConfig {
    /// Reduction over rows.
    pub reduction: TokenReduction,
    /// Target of rows that carry no loss. Their gradient is exactly 0.
    pub ignore_index: i64,
    /// ε in `[0, 1)`: the share of each target that is distributed evenly over all V outputs,
    /// including the target.
    pub label_smoothing: f64,
    /// Rows per chunk of logits, at least 1. `None`: as many as fit into memory that is needed
    /// anyway, see [`torch_ext::LinearCrossEntropy::chunk_rows`].
    pub chunk_rows: Option<i64>,
    /// Whether to compute the accuracy.
    pub accuracy: bool,
    /// Level of input validation.
    pub checks: Checks,
}

impl Default for LinearCrossEntropyConfig {
    fn default() -> Self {
        Self {
            reduction: TokenReduction::Mean,
            ignore_index: IGNORE_INDEX,
            label_smoothing: 0.0,
            chunk_rows: None,
            accuracy: false,
            checks: Checks::Shapes,
        }
    }
}

/// Reduction of [`linear_cross_entropy`](linear_cross_entropy()) over the rows that carry loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenReduction {
    /// Their mean.
    #[default]
    Mean,
    /// Their sum.
    Sum,
    /// The loss of each row, 0 where it carries none. Needs a fourth matmul, because a row's weight
    /// is known in the backward pass only.
    None,
}

/// Output of [`linear_cross_entropy`](linear_cross_entropy()).
#[derive(Debug)]
#[non_exhaustive]
pub struct LinearCrossEntropyOutput {
    /// `[]`, or `[N]` under [`TokenReduction::None`]: f64 for f64 inputs, else f32; in nats.
    pub loss: Tensor,
    /// `[]` f32: the share of these rows whose target has the largest logit (the first of equal
    /// ones). Only with [`LinearCrossEntropyConfig::accuracy`].
    pub accuracy: Option<Tensor>,
    /// The number of rows that carry loss.
    pub kept: i64,
}

/// Computes the cross-entropy of a linear layer without storing all its logits, in nats.
///
/// With `z = hidden · weightᵀ + bias` and `ℓᵢ = -ln softmax(zᵢ)[targets[i]]`, the mean (or sum) of
/// `ℓᵢ` over the rows whose target is not `ignore_index`.
///
/// The loss of every LM head here: masked language modelling, entity completion, phrase masking. At
/// most `chunk_rows` rows of logits exist at a time; under mean and sum their gradients are made
/// while they exist, so that a step costs the three matrix products that it cannot avoid. Values
/// and gradients do not depend on the chunk size beyond rounding.
///
/// With `label_smoothing` ε each term is `-(1 − ε) ln p(target) − (ε/V) Σᵥ ln p(v)`.
///
/// # Shapes
/// - `hidden`: `[N, H]` Float, BFloat16, Half or Double; receives gradient
/// - `weight`: `[V, H]`, of the same dtype unless autocast is on; receives gradient if it requires
///   it
/// - `bias`: `[V]` float; likewise
/// - `targets`: `[N]` i64, in `0..V` or `ignore_index`
///
/// # Precision
/// Softmax, losses and the sums over chunks run in f32 (f64 for f64 inputs). Under autocast the
/// products run in its dtype. bfloat16 products round the logits to 8 bits: expect losses within 2
/// % of float32's. float16 gradients are stored up to 8 times enlarged between the products: single
/// weights beyond about 8,000 overflow them.
///
/// # Errors
/// [`Error::Empty`] if no row carries loss (mean and sum); [`Error::Range`] for other targets
/// outside `0..V`; [`Error::Domain`] for ε outside `[0, 1)` or `chunk_rows` below 1;
/// [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or [`Error::Undefined`] for invalid
/// tensors; under [`Checks::Full`] [`Error::NotFinite`] naming the tensor and the index of a NaN or
/// infinity.
///
/// # Source
/// *Bridging the Language Gap*, Eq. 1 and 2, *XLM-K*'s L_MLM and mixMRC's Eq. 2 all need it. The
/// idea of making gradients in the forward pass is Liger-Kernel's.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{LinearCrossEntropyConfig, linear_cross_entropy};
///
/// let hidden = Tensor::zeros([4, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let weight = Tensor::ones([1000, 8], (Kind::Float, Device::Cpu)).set_requires_grad(true);
/// let targets = Tensor::from_slice(&[7_i64, -100, 999, 0]);
/// let config = LinearCrossEntropyConfig { accuracy: true, ..Default::default() };
/// let output = linear_cross_entropy(&hidden, &weight, None, &targets, &config)?;
/// assert!((output.loss.double_value(&[]) - 1000_f64.ln()).abs() < 1e-5); // nothing known: ln V
/// assert_eq!(output.kept, 3);
/// output.loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn linear_cross_entropy(
    hidden: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    targets: &Tensor,
    config: &LinearCrossEntropyConfig,
) -> Result<LinearCrossEntropyOutput, Error> {
    let layer = TokenScores::linear(hidden, weight, bias);
    let (count, vocabulary) = layer.checked_sizes()?;
    let device = hidden.device();
    check_int64("targets", targets, &[count], "[N]", "hidden", device)?;
    check_smoothing(config.label_smoothing)?;
    if let Some(rows) = config.chunk_rows
        && rows < 1
    {
        let rule = "at least 1";
        return Err(Error::Domain { option: "chunk_rows", value: rows as f64, rule });
    }
    let index = targets.f_ne(config.ignore_index)?.f_nonzero()?.f_squeeze_dim(1)?;
    let kept = index.size1()?;
    let all = kept == count;
    let (rows, kept_targets) = if all {
        (hidden.shallow_clone(), targets.shallow_clone())
    } else {
        (hidden.f_index_select(0, &upload(&index, device)?)?, targets.f_index_select(0, &index)?)
    };
    if kept > 0 {
        let hint = format!(" (V of the weight) or {}", config.ignore_index);
        check_ids("targets", &kept_targets, vocabulary, &hint)?;
    } else if config.reduction != TokenReduction::None {
        let reason = "no row carries loss";
        return Err(Error::Empty { tensor: "targets", reason });
    }
    let options = torch_ext::LinearCrossEntropy {
        reduction: match config.reduction {
            TokenReduction::Mean => LossReduction::Mean,
            TokenReduction::Sum => LossReduction::Sum,
            TokenReduction::None => LossReduction::None,
        },
        weights: None,
        label_smoothing: config.label_smoothing,
        chunk_rows: config.chunk_rows,
        correct: config.accuracy,
    };
    let targets = upload(&kept_targets, device)?;
    let losses = token_losses((&rows, weight, bias), &targets, &options, config.checks)?;
    let loss = if all || config.reduction != TokenReduction::None {
        losses.loss
    } else {
        let zeros = Tensor::f_zeros([count], (losses.loss.f_kind()?, losses.loss.device()))?;
        zeros.f_index_add(0, &upload(&index, device)?, &losses.loss)?
    };
    let accuracy = match losses.correct {
        Some(correct) => Some(correct.f_to_kind(Kind::Float)?.f_mean(None::<Kind>)?),
        None => None,
    };
    Ok(LinearCrossEntropyOutput { loss, accuracy, kept })
}

pub(crate) fn check_smoothing(label_smoothing: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&label_smoothing) {
        return Ok(());
    }
    Err(Error::Domain {
        option: "label_smoothing",
        value: label_smoothing,
        rule: "at least 0 and below 1",
    })
}

/// The losses of a layer's rows; under [`Checks::Full`] its values are read first.
pub(crate) fn token_losses(
    (hidden, weight, bias): (&Tensor, &Tensor, Option<&Tensor>),
    targets: &Tensor,
    options: &torch_ext::LinearCrossEntropy<'_>,
    checks: Checks,
) -> Result<torch_ext::TokenLosses, Error> {
    if checks == Checks::Full {
        for (name, tensor) in [("hidden", Some(hidden)), ("weight", Some(weight)), ("bias", bias)] {
            tensor.map_or(Ok(()), |tensor| check_finite(name, tensor))?;
        }
    }
    Ok(torch_ext::linear_cross_entropy(hidden, weight, bias, targets, options)?)
}

/// Refuses NaN and infinities.
pub(crate) fn check_finite(name: &'static str, tensor: &Tensor) -> Result<(), Error> {
    // One pass without a mask: a NaN or an infinity makes the sum one, too.
    if tensor.f_sum(Kind::Double)?.f_double_value(&[])?.is_finite() {
        return Ok(());
    }
    let Some(index) = first_true(&tensor.f_isfinite()?.f_logical_not()?)? else { return Ok(()) };
    let value = tensor.f_double_value(&index)?;
    let rule = "must be a finite number; look at the step that made it";
    Err(Error::NotFinite { tensor: name, index, value, rule })
}
