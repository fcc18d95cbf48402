//! Losses of XLM-K's two contrastive tasks: InfoNCE with a queue of keys.
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::checks::{check_kind, check_matrix, check_shape};
use crate::{
    ContrastRowInfo, Direction, Error, InfoNceConfig, NegativeQueue, Negatives, info_nce,
    linear_cross_entropy,
};

/// Options of [`masked_entity_prediction`](masked_entity_prediction()) and
/// [`object_entailment`](object_entailment()).
///
/// The default is [`paper`](Self::paper). [`released`](Self::released) has the options of the
/// released code, except its temperature, which is not published.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ContrastConfig {
    /// Time at which the batch's keys are pushed to the queue.
    pub push: Push,
    /// Whether keys of rows that carry no loss are pushed too, as in the released code.
    pub push_invalid: bool,
    /// Options of the InfoNCE loss.
    pub loss: InfoNceConfig,
}

/// Time at which the batch's keys are pushed to the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// Before the loss: the candidates are the batch's keys and the remaining queue rows, Q in
    /// total (*XLM-K*, appendix C).
    #[default]
    BeforeLoss,
    /// After the loss: the candidates are the batch's keys and all Q earlier keys (the released
    /// code).
    AfterLoss,
    /// Never, for evaluation.
    Never,
}

impl ContrastConfig {
    /// Returns the options in the *XLM-K* paper: Eq. 5 without temperature or norm, query→key, keys
    /// pushed before the loss.
    pub fn paper() -> Self {
        Self::default()
    }

    /// Returns the options of *XLM-K*'s released code: L2 norm, both directions, queries as
    /// additional candidates, and a push of all keys after the loss.
    ///
    /// The temperature is a command-line option of the released code, and no value is published;
    /// 0.05 to 0.1 is common.
    pub fn released(temperature: f64) -> Self {
        Self {
            push: Push::AfterLoss,
            push_invalid: true,
            loss: InfoNceConfig {
                temperature,
                l2_norm: true,
                direction: Direction::Bidirectional,
                negatives: Negatives::QueriesKeysAndQueue,
                ..Default::default()
            },
        }
    }
}

/// Computes the loss of masked entity prediction, MEP (*XLM-K*, Eq. 1, 2 and 5), in nats.
///
/// The masked mention is classified among entity descriptions.
///
/// The loss is [`info_nce`](info_nce()) of queries and keys. `query = W₂ ReLU(W₁ x_s)` is the
/// projected hidden state of the mention's first token. `key = W₄ ReLU(W₃ z̃)` is the projected
/// hidden state of the description's `<s>`; a description in another language is preferred. Then
/// the keys are pushed to `queue`.
///
/// Interpretation: each task has a separate queue. Under [`Push::BeforeLoss`] the queue rows
/// removed by the push are not candidates, so there are Q candidates. The queue is changed only
/// after the loss has been computed, so it is unchanged if the loss is an error.
///
/// # Shapes
/// - `query`, `key`: `[B, D]` float, receive gradient; `queue`: `[Q, D]`, receives no gradient
/// - returns `[]`, as [`info_nce`](info_nce())
///
/// # Errors
/// The errors of [`info_nce`](info_nce()).
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{
///     ContrastConfig, ContrastRowInfo, NegativeQueue, QueueConfig, masked_entity_prediction,
/// };
///
/// let options = (Kind::Float, Device::Cpu);
/// let queue = QueueConfig { size: 64, ..Default::default() };
/// let mut queue = NegativeQueue::new(8, options, &queue)?;
/// let mentions = Tensor::ones([4, 8], options).set_requires_grad(true);
/// let descriptions = Tensor::ones([4, 8], options).set_requires_grad(true);
/// let valid = Tensor::from_slice(&[true, true, false, true]); // one mention was truncated
/// let row_info = ContrastRowInfo { valid: Some(&valid), ..Default::default() };
/// let config = ContrastConfig::released(0.05);
/// let loss =
///     masked_entity_prediction(&mentions, &descriptions, &mut queue, &row_info, &config)?;
/// loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
#[doc(alias = "mep")]
pub fn masked_entity_prediction(
    query: &Tensor,
    key: &Tensor,
    queue: &mut NegativeQueue,
    row_info: &ContrastRowInfo<'_>,
    config: &ContrastConfig,
) -> Result<Tensor, Error> {
    let (batch, _) = check_matrix("key", key, "[B, D]")?;
    let index = match row_info.valid {
        Some(valid) if !config.push_invalid => {
            check_shape("valid", valid, &[batch], "[B]")?;
            check_kind("valid", valid, Kind::Bool, "Bool")?;
            Some(valid.f_nonzero()?.f_squeeze_dim(1)?)
        }
        _ => None,
    };
    let pushed_count = index.as_ref().map_or(Ok(batch), Tensor::size1)?;
    let skip_oldest =
        if config.push == Push::BeforeLoss { dropped_by_push(queue, pushed_count) } else { 0 };
    let loss = info_nce(query, key, Some(queue), skip_oldest, row_info, &config.loss)?;
    if config.push != Push::Never {
        let keys = key.f_detach()?;
        match index {
            None => queue.push(&keys, row_info.ids)?,
            Some(index) => {
                let ids = row_info.ids.map(|ids| ids.f_index_select(0, &index)).transpose()?;
                queue.push(&keys.f_index_select(0, &index)?, ids.as_ref())?;
            }
        }
    }
    Ok(loss)
}

/// Computes the loss of object entailment, OE (*XLM-K*, Eq. 3, 4 and 5), in nats.
///
/// Each pair of a subject and a relation is classified among descriptions of objects.
///
/// The loss is [`info_nce`](info_nce()) of queries and keys. `query = W₆ ReLU(W₅ (s̃ + r̃))` is
/// computed from the sum of the subject description's `<s>` hidden state and the relation's
/// embedding, and `key = W₈ ReLU(W₇ z̃)` from the object's description. Then the keys are pushed to
/// `queue`. The released code does not contain this task; [`ContrastConfig::released`] applies the
/// options of [`masked_entity_prediction`](masked_entity_prediction()).
///
/// # Shapes
/// As [`masked_entity_prediction`](masked_entity_prediction()).
///
/// # Errors
/// The errors of [`info_nce`](info_nce()).
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ContrastConfig, ContrastRowInfo, NegativeQueue, QueueConfig, object_entailment};
///
/// let options = (Kind::Float, Device::Cpu);
/// let queue = QueueConfig { size: 64, ..Default::default() };
/// let mut queue = NegativeQueue::new(8, options, &queue)?;
/// let (subject, relation) = (Tensor::ones([4, 8], options), Tensor::ones([4, 8], options));
/// let query = (subject + relation).set_requires_grad(true); // projection omitted
/// let object = Tensor::ones([4, 8], options);
/// let row_info = ContrastRowInfo::default();
/// let config = ContrastConfig::paper();
/// object_entailment(&query, &object, &mut queue, &row_info, &config)?.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
#[doc(alias = "oe")]
pub fn object_entailment(
    query: &Tensor,
    key: &Tensor,
    queue: &mut NegativeQueue,
    row_info: &ContrastRowInfo<'_>,
    config: &ContrastConfig,
) -> Result<Tensor, Error> {
    masked_entity_prediction(query, key, queue, row_info, config)
}

/// The number of rows that a push of `count` keys would remove.
fn dropped_by_push(queue: &NegativeQueue, count: i64) -> i64 {
    (queue.len() + count - queue.capacity()).clamp(0, queue.len())
}

/// Computes the loss of object entailment without contrast (*XLM-K* §4.3, the ablation), in nats.
///
/// The relation is predicted from subject and object: `-ln softmax(W [s̃; õ] + b)[r]`, mean over
/// the batch.
///
/// # Shapes
/// - `subject`, `object`: `[B, D]` float, the descriptions' `<s>` states; receive gradient
/// - `weight`: `[R, 2D]`, `bias`: `[R]`, for R relations (1,304 in the paper); receive gradient
/// - `relations`: `[B]` i64 in `0..R`, or [`IGNORE_INDEX`](crate::IGNORE_INDEX)
/// - returns `[]`
///
/// # Errors
/// The errors of [`linear_cross_entropy`](linear_cross_entropy()), whose `hidden` is `[s̃; õ]`.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::relation_classification;
///
/// let options = (Kind::Float, Device::Cpu);
/// let states = Tensor::ones([3, 4], options).set_requires_grad(true);
/// let (weight, bias) = (Tensor::zeros([1304, 8], options), Tensor::zeros([1304], options));
/// let relations = Tensor::from_slice(&[0_i64, 17, 1303]);
/// let loss = relation_classification(&states, &states, &weight, Some(&bias), &relations)?;
/// assert!((loss.double_value(&[]) - 1304_f64.ln()).abs() < 1e-5);
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn relation_classification(
    subject: &Tensor,
    object: &Tensor,
    weight: &Tensor,
    bias: Option<&Tensor>,
    relations: &Tensor,
) -> Result<Tensor, Error> {
    let (batch, width) = check_matrix("subject", subject, "[B, D]")?;
    check_shape("object", object, &[batch, width], "[B, D]")?;
    let states = Tensor::f_cat(&[subject, object], 1)?;
    linear_cross_entropy(&states, weight, bias, relations)
}
