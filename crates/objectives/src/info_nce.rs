//! InfoNCE over the keys of the batch and of a queue, streamed.
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use torch_ext::{KeyBlocks, streamed_logsumexp};

use crate::checks::{
    check_device, check_float, check_kind, check_matrix, check_shape, check_temperature,
};
use crate::{Error, NegativeQueue};

/// Number of keys per block of query-key products on the CPU: with a few hundred queries a block
/// fits in a core's cache.
const CPU_BLOCK: i64 = 1024;
/// Number of products per block on a GPU: 256 MiB, for few large kernels.
const GPU_BLOCK_ELEMENTS: i64 = 1 << 26;

/// Number of keys per block of products with `anchors`.
fn block(anchors: &Tensor) -> Result<i64, Error> {
    let (rows, _) = anchors.size2()?;
    Ok(match anchors.device() {
        Device::Cpu => CPU_BLOCK,
        _ => (GPU_BLOCK_ELEMENTS / rows.max(1)).max(CPU_BLOCK),
    })
}

/// Options of [`info_nce`](info_nce()).
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct InfoNceConfig {
    /// τ, above 0 and at most [`MAX_TEMPERATURE`](crate::MAX_TEMPERATURE): similarities are divided
    /// by it. *XLM-K*, Eq. 5 has none, so 1.
    pub temperature: f64,
    /// Whether queries, keys and queued keys are L2-normalised.
    pub l2_norm: bool,
    /// Lower bound of the norm, at most 1e6.
    pub l2_eps: f64,
    /// Anchor rows: the queries, or queries and keys.
    pub direction: Direction,
    /// The negatives.
    pub negatives: Negatives,
    /// Whether to mask other keys of the query's entity. The positive key stays. Requires entity
    /// ids.
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
    /// [`Error::Domain`] naming the first that is out of range.
    ///
    /// ```
    /// use objectives::InfoNceConfig;
    ///
    /// let hot = InfoNceConfig { temperature: 1e30, ..InfoNceConfig::default() };
    /// let error = hot.validate().unwrap_err().to_string();
    /// assert!(error.ends_with("must be at most 1000"));
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        check_temperature(self.temperature)?;
        let (option, value) = ("l2_eps", self.l2_eps);
        // Norms of hidden states are of the order of 1 to 100.
        match value > 0.0 && value <= 1e6 {
            true => Ok(()),
            false => Err(Error::Domain { option, value, rule: "above 0 and at most 1e6" }),
        }
    }
}

/// Anchor rows of [`info_nce`](info_nce()): query→key, or both directions (CLIP-style).
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
    /// The other rows' keys and the queue: `(n - 1) + Q`.
    #[default]
    KeysAndQueue,
    /// Also the other rows' queries: `2 (n - 1) + Q`.
    QueriesKeysAndQueue,
}

/// Entity ids and validity of the rows of a contrastive batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct ContrastRows<'a> {
    /// `[B]` i64: the entity that each row's query and key describe, negative where unknown.
    pub ids: Option<&'a Tensor>,
    /// `[B]` bool: false for rows that carry no loss and are not a candidate of any row (such as a
    /// truncated mention).
    pub valid: Option<&'a Tensor>,
}

/// Computes InfoNCE (*XLM-K*, Eq. 5), in nats.
///
/// `ℓᵢ = -ln( e^{qᵢ·kᵢ/τ} / Σ_c e^{qᵢ·c/τ} )`, where c runs over the positive key kᵢ, the other
/// keys of the batch and the queue. The loss is the mean of ℓᵢ.
///
/// Streamed: queue and batch pass by in blocks under a running log-sum-exp, so the `[B, B + Q]`
/// similarities never exist, and the queries' gradient is made from the same products. The cost is
/// that of the products, linear in Q.
///
/// Reading: the right key is one of the candidates, once (appendix C). `skip_oldest` leaves that
/// many of the oldest queue rows out: those that pushing this batch's keys *before* the loss would
/// have dropped. [`masked_entity_prediction`](crate::masked_entity_prediction()) and
/// [`object_entailment`](crate::object_entailment()) set it and push.
///
/// # Shapes
/// - `query`, `key`: `[B, D]` Float, BFloat16, Half or Double; receive gradient. Row i of one
///   belongs to row i of the other
/// - `queue`: keys `[≤ Q, D]` on the same device; receives no gradient
/// - returns `[]`: f64 for f64 queries, f32 for all others (products, softmax and reduction run in
///   it)
///
/// Without a valid row the loss is 0, with a graph and a gradient of 0: mentions may be rare, and
/// the batch's other losses still train.
///
/// # Errors
/// [`Error::Empty`] if B = 0; as [`InfoNceConfig::validate`]; [`Error::Missing`] if
/// `mask_same_entity` is set without ids; [`Error::Shape`], [`Error::Dtype`], [`Error::Device`] or
/// [`Error::Undefined`] for invalid tensors.
///
/// # Example
/// ```
/// use objectives::tch::{Device, Kind, Tensor};
/// use objectives::{ContrastRows, InfoNceConfig, NegativeQueue, QueueConfig, info_nce};
///
/// let options = (Kind::Float, Device::Cpu);
/// let queue = NegativeQueue::new(8, options, &QueueConfig { size: 14, ..Default::default() })?;
/// let query = Tensor::zeros([2, 8], options).set_requires_grad(true);
/// let key = Tensor::ones([2, 8], options);
/// let rows = ContrastRows::default();
/// let loss = info_nce(&query, &key, Some(&queue), 0, &rows, &InfoNceConfig::default())?;
/// // Nothing known: ln of 2 keys and 14 queued ones.
/// assert!((loss.double_value(&[]) - 16_f64.ln()).abs() < 1e-6);
/// loss.backward();
/// # Ok::<(), objectives::Error>(())
/// ```
pub fn info_nce(
    query: &Tensor,
    key: &Tensor,
    queue: Option<&NegativeQueue>,
    skip_oldest: i64,
    rows: &ContrastRows<'_>,
    config: &InfoNceConfig,
) -> Result<Tensor, Error> {
    expect(query, key, queue, rows, config)?;
    let (query, key, ids) = match rows.valid {
        None => (query.shallow_clone(), key.shallow_clone(), rows.ids.map(Tensor::shallow_clone)),
        Some(valid) => {
            let index = valid.f_nonzero()?.f_squeeze_dim(1)?;
            let ids = rows.ids.map(|ids| ids.f_index_select(0, &index)).transpose()?;
            (query.f_index_select(0, &index)?, key.f_index_select(0, &index)?, ids)
        }
    };
    let sums = if query.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float };
    let (count, _) = query.size2()?;
    if count == 0 {
        return Ok(query.f_sum(sums)?.f_add(&key.f_sum(sums)?)?);
    }
    let prepare = |rows: Tensor| -> Result<Tensor, Error> {
        let rows = rows.f_to_kind(sums)?;
        if config.l2_norm { normalise(&rows, config.l2_eps) } else { Ok(rows) }
    };
    let (query, key) = (prepare(query)?, prepare(key)?);
    // Similarity of each query with its key.
    let positive =
        query.f_mul(&key)?.f_sum_dim_intlist(-1, false, sums)?.f_div_scalar(config.temperature)?;
    let both = config.direction == Direction::Bidirectional;
    let ids = ids.filter(|_| config.mask_same_entity);
    // Everything is compared with the right key's similarity before any exponential: of large
    // similarities that differ little, subtracting it in the end would leave rounding alone.
    let offset = positive.f_detach()?;
    let pairs = Pairs { query: &query, key: &key, ids: ids.as_ref(), offset: &offset, config };
    let mut parts = pairs.in_batch(both)?;
    let positive = positive.f_sub(&offset)?; // 0, with the gradient of the similarity
    let (anchors, positive, offset) = if both {
        let twice = |rows: &Tensor| Tensor::f_cat(&[rows, rows], 0);
        (Tensor::f_cat(&[&query, &key], 0)?, twice(&positive)?, twice(&offset)?)
    } else {
        (query.shallow_clone(), positive, offset.shallow_clone())
    };
    let anchor_ids = match &ids {
        Some(ids) if both => Some(Tensor::f_cat(&[ids, ids], 0)?),
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
            block: block(&anchors)?,
        };
        parts.push(streamed_logsumexp(&anchors, &blocks, config.temperature)?);
    }
    parts.push(positive.shallow_clone());
    let losses = Tensor::f_stack(&parts, 0)?.f_logsumexp(0, false)?.f_sub(&positive)?;
    Ok(losses.f_mean(None::<Kind>)?)
}

/// The rows over the larger of their L2 norm and `eps`.
fn normalise(rows: &Tensor, eps: f64) -> Result<Tensor, Error> {
    let norm = rows.f_norm_scalaropt_dim(2.0, [1i64], true)?.f_clamp_min(eps)?;
    Ok(rows.f_div(&norm)?)
}

fn expect(
    query: &Tensor,
    key: &Tensor,
    queue: Option<&NegativeQueue>,
    rows: &ContrastRows<'_>,
    config: &InfoNceConfig,
) -> Result<(), Error> {
    config.validate()?;
    let (batch, width) = check_matrix("query", query, "[B, D]")?;
    check_float("query", query)?;
    check_shape("key", key, &[batch, width], "[B, D]")?;
    check_kind("key", key, query.f_kind()?, "that of query")?;
    check_device("key", key, "query", query.device())?;
    if batch == 0 {
        return Err(Error::Empty { tensor: "query", reason: "the batch has no row" });
    }
    if let Some(ids) = rows.ids {
        check_shape("ids", ids, &[batch], "[B]")?;
        check_kind("ids", ids, Kind::Int64, "Int64")?;
        check_device("ids", ids, "query", query.device())?;
    } else if config.mask_same_entity {
        let reason = "mask_same_entity needs the entity of each row";
        return Err(Error::Missing { argument: "ids", reason });
    }
    if let Some(valid) = rows.valid {
        check_shape("valid", valid, &[batch], "[B]")?;
        check_kind("valid", valid, Kind::Bool, "Bool")?;
        check_device("valid", valid, "query", query.device())?;
    }
    if let Some(queue) = queue {
        let keys = queue.view();
        check_shape("queue", keys, &[queue.capacity(), width], "[Q, D]")?;
        check_device("queue", keys, "query", query.device())?;
    }
    Ok(())
}

/// The rows of a batch as each other's wrong candidates.
struct Pairs<'a> {
    query: &'a Tensor,
    key: &'a Tensor,
    ids: Option<&'a Tensor>,
    /// `[n]`, the similarity of each query with its key.
    offset: &'a Tensor,
    config: &'a InfoNceConfig,
}

impl Pairs<'_> {
    /// The log-sum-exp over the wrong candidates within the batch, `[n]` or, for both directions,
    /// `[2n]`.
    fn in_batch(&self, both: bool) -> Result<Vec<Tensor>, Error> {
        let groups = self.groups()?;
        let twice = |rows: &Tensor| Tensor::f_cat(&[rows, rows], 0);
        let all = || Tensor::f_cat(&[self.query, self.key], 0);
        Ok(match (self.config.negatives, both) {
            (Negatives::QueriesKeysAndQueue, true) => {
                let (rows, groups) = (all()?, twice(&groups)?);
                vec![self.stream(&rows, &rows, [&groups, &groups], &twice(self.offset)?)?]
            }
            (Negatives::QueriesKeysAndQueue, false) => {
                vec![self.stream(self.query, &all()?, [&groups, &twice(&groups)?], self.offset)?]
            }
            (Negatives::KeysAndQueue, true) => {
                let groups = [&groups, &groups];
                let query_to_key = self.stream(self.query, self.key, groups, self.offset)?;
                let key_to_query = self.stream(self.key, self.query, groups, self.offset)?;
                vec![Tensor::f_cat(&[query_to_key, key_to_query], 0)?]
            }
            (Negatives::KeysAndQueue, false) => {
                vec![self.stream(self.query, self.key, [&groups, &groups], self.offset)?]
            }
        })
    }

    /// The group of each row, `[n]`: rows of one group are not mutual negatives. Each row is a
    /// group or, with ids, each entity.
    fn groups(&self) -> Result<Tensor, Error> {
        let (count, _) = self.query.size2()?;
        let rows = Tensor::f_arange(count, (Kind::Int64, self.query.device()))?;
        let Some(ids) = self.ids else { return Ok(rows) };
        // Rows without an entity get negative numbers, which no entity has.
        Ok(ids.f_where_self(&ids.f_ge(0)?, &rows.f_neg()?.f_sub_scalar(1)?)?)
    }

    fn stream(
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
            normalise_eps: None, // already divided
            block: block(anchors)?,
        };
        Ok(streamed_logsumexp(anchors, &blocks, self.config.temperature)?)
    }
}
