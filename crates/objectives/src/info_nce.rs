//! InfoNCE over the keys of the batch and of a queue, computed in blocks.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::{KeyBlocks, streamed_logsumexp};

use crate::checks::{
    check_device, check_float, check_kind, check_matrix, check_shape, check_temperature,
};
use crate::{Error, NegativeQueue};

/// Number of keys per block of query-key similarities on the CPU: with a few hundred queries a
/// block fits in the cache of a core.
const CPU_BLOCK_KEYS: i64 = 1024;
/// Number of similarities per block on a GPU (256 MiB in float32); large blocks need few kernel
/// launches.
const GPU_BLOCK_ELEMENTS: i64 = 1 << 26;

/// Number of keys per block of similarities with `anchors`.
fn block_size(anchors: &Tensor) -> Result<i64, Error> {
    let (rows, _) = anchors.size2()?;
    Ok(match anchors.device() {
        Device::Cpu => CPU_BLOCK_KEYS,
        _ => (GPU_BLOCK_ELEMENTS / rows.max(1)).max(CPU_BLOCK_KEYS),
    })
}

/// Options of [`info_nce`](info_nce()).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InfoNceConfig {
    /// τ, by which similarities are divided: above 0, at most
    /// [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE). The default is 1, because *XLM-K*, Eq. 5 has no
    /// temperature.
    pub temperature: f64,
    /// Whether queries, keys and queued keys are L2-normalised.
    pub l2_norm: bool,
    /// Minimum divisor for `l2_norm`: a vector with a smaller norm is divided by this value instead
    /// of its norm. Range: above 0, at most 1e6.
    pub l2_eps: f64,
    /// Anchors, which are classified among candidates: the queries, or both queries and keys.
    pub direction: Direction,
    /// The negatives.
    pub negatives: Negatives,
    /// Whether keys of the query's entity, except the positive key, are excluded from the
    /// negatives. Requires entity ids.
    pub mask_same_entity: bool,
}

impl Default for InfoNceConfig {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            l2_norm: false,
            l2_eps: 1e-4,
            direction: Direction::QueryToKey,
            negatives: Negatives::KeysAndQueue,
            mask_same_entity: false,
        }
    }
}

impl InfoNceConfig {
    /// Validates the numeric options, as [`info_nce`](info_nce()) does.
    ///
    /// # Errors
    /// [`Error::Domain`] for the first option out of range.
    ///
    /// ```
    /// use objectives::InfoNceConfig;
    ///
    /// let config = InfoNceConfig { temperature: 1e30, ..InfoNceConfig::default() };
    /// let error = config.validate().unwrap_err().to_string();
    /// assert!(error.ends_with("must be at most 1000"));
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        check_temperature(self.temperature)?;
        let (option, value) = ("l2_eps", self.l2_eps);
        // Norms of hidden states are about 1 to 100, so a much larger divisor is a mistake.
        match value > 0.0 && value <= 1e6 {
            true => Ok(()),
            false => Err(Error::Domain { option, value, rule: "above 0 and at most 1e6" }),
        }
    }
}

/// Direction of classification in [`info_nce`](info_nce()).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// query→key: each query is classified among the keys.
    #[default]
    QueryToKey,
    /// query→key and key→query, both against the same queue (CLIP-style).
    Bidirectional,
}

/// The negatives of [`info_nce`](info_nce()).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Negatives {
    /// The keys of the other rows and the keys of the queue: `(n - 1) + Q` for n valid rows.
    #[default]
    KeysAndQueue,
    /// The queries and keys of the other rows, and the keys of the queue: `2 (n - 1) + Q` for n
    /// valid rows.
    QueriesKeysAndQueue,
}

/// Entity ids and validity of the rows of a contrastive batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastRowInfo<'a> {
    /// `[B]` i64: the entity that each row's query and key describe, negative where unknown.
    pub ids: Option<&'a Tensor>,
    /// `[B]` bool: false for rows that carry no loss and are not candidates for other rows, such as
    /// a row with a truncated mention.
    pub valid: Option<&'a Tensor>,
}

/// Computes InfoNCE (*XLM-K*, Eq. 5), in nats.
///
/// `ℓᵢ = -ln( e^{qᵢ·kᵢ/τ} / Σ_c e^{qᵢ·c/τ} )`, where c runs over the positive key kᵢ, the other
/// keys of the batch and the queue. The loss is the mean of ℓᵢ.
///
/// Keys are processed in blocks with a running log-sum-exp, so the `[B, B + Q]` similarities are
/// never stored. The forward pass also computes the queries' gradient. The matrix multiplications
/// dominate the cost, which is linear in Q.
///
/// Interpretation: the positive key is one of the candidates, exactly once (appendix C).
/// `skip_oldest` is the number of oldest queue rows to exclude: the rows that a push of this
/// batch's keys *before* the loss would have removed.
/// [`masked_entity_prediction`](crate::masked_entity_prediction()) and
/// [`object_entailment`](crate::object_entailment()) set `skip_oldest` and push the keys.
///
/// # Shapes
/// - `query`, `key`: `[B, D]` Float, BFloat16, Half or Double; receive gradient. Row i of `key` is
///   the positive key of row i of `query`
/// - `queue`: keys `[≤ Q, D]` on the device of `query`; receives no gradient
/// - returns `[]`: f64 for f64 queries, f32 for all others (matrix multiplications, softmax and
///   reduction use this dtype)
///
/// Without a valid row the loss is 0, with a graph and a gradient of 0, so that a batch without
/// mentions can still be used by other losses.
///
/// # Errors
/// [`Error::Empty`] if B = 0; the errors of [`InfoNceConfig::validate`]; [`Error::Missing`] if
/// `mask_same_entity` is set without ids; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ContrastRowInfo, InfoNceConfig, NegativeQueue, QueueConfig, info_nce};
///
/// let options = (Kind::Float, Device::Cpu);
/// let queue = NegativeQueue::new(8, options, &QueueConfig { size: 14, ..Default::default() })?;
/// let query = Tensor::zeros([2, 8], options).set_requires_grad(true);
/// let key = Tensor::ones([2, 8], options);
/// let row_info = ContrastRowInfo::default();
/// let loss = info_nce(&query, &key, Some(&queue), 0, &row_info, &InfoNceConfig::default())?;
/// // Equal similarities: ln(2 keys + 14 queued keys).
/// assert!((loss.double_value(&[]) - 16_f64.ln()).abs() < 1e-6);
/// loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn info_nce(
    query: &Tensor,
    key: &Tensor,
    queue: Option<&NegativeQueue>,
    skip_oldest: i64,
    row_info: &ContrastRowInfo<'_>,
    config: &InfoNceConfig,
) -> Result<Tensor, Error> {
    check_inputs(query, key, queue, row_info, config)?;
    let (query, key, ids) = match row_info.valid {
        None => {
            (query.shallow_clone(), key.shallow_clone(), row_info.ids.map(Tensor::shallow_clone))
        }
        Some(valid) => {
            let index = valid.f_nonzero()?.f_squeeze_dim(1)?;
            let ids = row_info.ids.map(|ids| ids.f_index_select(0, &index)).transpose()?;
            (query.f_index_select(0, &index)?, key.f_index_select(0, &index)?, ids)
        }
    };
    let kind = if query.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let (count, _) = query.size2()?;
    if count == 0 {
        return Ok(query.f_sum(kind)?.f_add(&key.f_sum(kind)?)?);
    }
    let prepare = |rows: Tensor| -> Result<Tensor, Error> {
        let rows = rows.f_to_kind(kind)?;
        if config.l2_norm { normalise(&rows, config.l2_eps) } else { Ok(rows) }
    };
    let (query, key) = (prepare(query)?, prepare(key)?);
    // Similarity of each query with its positive key.
    let positive =
        query.f_mul(&key)?.f_sum_dim_intlist(-1, false, kind)?.f_div_scalar(config.temperature)?;
    let bidirectional = config.direction == Direction::Bidirectional;
    let ids = ids.filter(|_| config.mask_same_entity);
    // The positive similarity is subtracted before any exponential. If it were subtracted at the
    // end, large similarities with small differences would leave only rounding error.
    let offset = positive.f_detach()?;
    let pairs =
        InBatchRows { query: &query, key: &key, ids: ids.as_ref(), offset: &offset, config };
    let mut logsumexps = pairs.in_batch_logsumexps(bidirectional)?;
    let positive = positive.f_sub(&offset)?; // 0, with the gradient of the similarity
    let (anchors, positive, offset) = if bidirectional {
        let duplicated = |rows: &Tensor| Tensor::f_cat(&[rows, rows], 0);
        (Tensor::f_cat(&[&query, &key], 0)?, duplicated(&positive)?, duplicated(&offset)?)
    } else {
        (query.shallow_clone(), positive, offset.shallow_clone())
    };
    let anchor_ids = match &ids {
        Some(ids) if bidirectional => Some(Tensor::f_cat(&[ids, ids], 0)?),
        Some(ids) => Some(ids.shallow_clone()),
        None => None,
    };
    let slices = queue.map_or(Ok(Vec::new()), |queue| queue.slices(skip_oldest))?;
    for (keys, key_ids) in &slices {
        let blocks = KeyBlocks {
            key: keys,
            groups: anchor_ids.as_ref().map(|ids| (ids, key_ids)),
            negative_groups: false,
            offset: Some(&offset),
            normalise_eps: config.l2_norm.then_some(config.l2_eps),
            block_size: block_size(&anchors)?,
        };
        logsumexps.push(streamed_logsumexp(&anchors, &blocks, config.temperature)?);
    }
    logsumexps.push(positive.shallow_clone());
    let losses = Tensor::f_stack(&logsumexps, 0)?.f_logsumexp(0, false)?.f_sub(&positive)?;
    Ok(losses.f_mean(None::<Kind>)?)
}

/// Divides each row by its L2 norm, or by `eps` if the norm is smaller than `eps`.
fn normalise(rows: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let norm = rows.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(eps)?;
    Ok(rows.f_div(&norm)?)
}

fn check_inputs(
    query: &Tensor,
    key: &Tensor,
    queue: Option<&NegativeQueue>,
    row_info: &ContrastRowInfo<'_>,
    config: &InfoNceConfig,
) -> Result<(), Error> {
    config.validate()?;
    let (batch, width) = check_matrix("query", query, "[B, D]")?;
    check_float("query", query)?;
    check_shape("key", key, &[batch, width], "[B, D]")?;
    check_kind("key", key, query.f_kind()?, "of query")?;
    check_device("key", key, "query", query.device())?;
    if batch == 0 {
        return Err(Error::Empty { tensor: "query", reason: "the batch has no row" });
    }
    if let Some(ids) = row_info.ids {
        check_shape("ids", ids, &[batch], "[B]")?;
        check_kind("ids", ids, Kind::Int64, "Int64")?;
        check_device("ids", ids, "query", query.device())?;
    } else if config.mask_same_entity {
        let reason = "mask_same_entity requires the entity id of each row";
        return Err(Error::Missing { argument: "ids", reason });
    }
    if let Some(valid) = row_info.valid {
        check_shape("valid", valid, &[batch], "[B]")?;
        check_kind("valid", valid, Kind::Bool, "Bool")?;
        check_device("valid", valid, "query", query.device())?;
    }
    if let Some(queue) = queue {
        let keys = queue.all_keys();
        check_shape("queue", keys, &[queue.capacity(), width], "[Q, D]")?;
        check_device("queue", keys, "query", query.device())?;
    }
    Ok(())
}

/// The rows of a batch. Each row is a negative for the other rows.
struct InBatchRows<'a> {
    query: &'a Tensor,
    key: &'a Tensor,
    ids: Option<&'a Tensor>,
    /// `[n]`, the similarity of each query with its positive key.
    offset: &'a Tensor,
    config: &'a InfoNceConfig,
}

impl InBatchRows<'_> {
    /// The log-sum-exp over each anchor's negatives within the batch: tensors `[n]` or, for both
    /// directions, `[2n]`.
    fn in_batch_logsumexps(&self, bidirectional: bool) -> Result<Vec<Tensor>, Error> {
        let groups = self.groups()?;
        let duplicated = |rows: &Tensor| Tensor::f_cat(&[rows, rows], 0);
        let queries_and_keys = || Tensor::f_cat(&[self.query, self.key], 0);
        Ok(match (self.config.negatives, bidirectional) {
            (Negatives::QueriesKeysAndQueue, true) => {
                let (rows, groups) = (queries_and_keys()?, duplicated(&groups)?);
                vec![self.logsumexp(&rows, &rows, [&groups, &groups], &duplicated(self.offset)?)?]
            }
            (Negatives::QueriesKeysAndQueue, false) => {
                vec![self.logsumexp(
                    self.query,
                    &queries_and_keys()?,
                    [&groups, &duplicated(&groups)?],
                    self.offset,
                )?]
            }
            (Negatives::KeysAndQueue, true) => {
                let groups = [&groups, &groups];
                let query_to_key = self.logsumexp(self.query, self.key, groups, self.offset)?;
                let key_to_query = self.logsumexp(self.key, self.query, groups, self.offset)?;
                vec![Tensor::f_cat(&[query_to_key, key_to_query], 0)?]
            }
            (Negatives::KeysAndQueue, false) => {
                vec![self.logsumexp(self.query, self.key, [&groups, &groups], self.offset)?]
            }
        })
    }

    /// The group of each row, `[n]`; rows of the same group are not negatives of each other. A
    /// group is an entity if there are ids, else a single row.
    fn groups(&self) -> Result<Tensor, Error> {
        let (count, _) = self.query.size2()?;
        let rows = Tensor::f_arange(count, (Kind::Int64, self.query.device()))?;
        let Some(ids) = self.ids else { return Ok(rows) };
        // Rows without an entity are assigned distinct negative ids, which no entity has.
        Ok(ids.f_where_self(&ids.f_ge(0)?, &rows.f_neg()?.f_sub_scalar(1)?)?)
    }

    fn logsumexp(
        &self,
        anchors: &Tensor,
        keys: &Tensor,
        [groups, key_groups]: [&Tensor; 2],
        offset: &Tensor,
    ) -> Result<Tensor, Error> {
        let blocks = KeyBlocks {
            key: keys,
            groups: Some((groups, key_groups)),
            negative_groups: true,
            offset: Some(offset),
            normalise_eps: None, // already normalised
            block_size: block_size(anchors)?,
        };
        Ok(streamed_logsumexp(anchors, &blocks, self.config.temperature)?)
    }
}
