//! Disentangled attention of DeBERTa (He et al. 2021, section 3.1; the layout of transformers'
//! `DebertaV2Model`).
use tch::{Device, Kind, Tensor};

use crate::batch::dropout::DropoutSeeds;
use crate::batch::packing::Rows;
use crate::layers::last_size;
use crate::layers::linear::{LayerNorm, Linear, Lookup, Parameter};
use crate::{Config, DebertaV2, Error, Result};

/// Self-attention with disentangled scores: a score is the sum of a content-to-content term and,
/// with relative positions, a content-to-position and a position-to-content term.
#[derive(Clone, Debug)]
pub(crate) struct Disentangled {
    /// Number of terms of a score; each term is divided by √(n_terms · D).
    n_terms: f64,
    heads: i64,
    dropout: f64,
    relative: Option<RelativePositions>,
}

#[derive(Clone, Debug)]
struct RelativePositions {
    /// Embeddings of distances, `[2 * span, H]`, where span is [`DebertaV2::distances_per_side`];
    /// the first row is for `-span` and smaller distances.
    embeddings: Parameter,
    norm: Option<LayerNorm>,
    dropout: f64,
    content_to_position: bool,
    position_to_content: bool,
    /// Separate projection of positions for the content-to-position term; absent if the layer's key
    /// projection is used, or there is no such term.
    key: Option<Linear>,
    query: Option<Linear>,
}

/// A layer's queries, keys and values, `[B, L, H]`, and the linear layers of queries and keys.
pub(crate) struct Projected<'a> {
    pub(crate) query: &'a Tensor,
    pub(crate) key: &'a Tensor,
    pub(crate) value: &'a Tensor,
    pub(crate) query_layer: &'a Linear,
    pub(crate) key_layer: &'a Linear,
}

impl Disentangled {
    /// Builds the attention of the layer `name`.
    pub(crate) fn new(
        get: Lookup,
        config: &Config,
        deberta: &DebertaV2,
        name: &str,
    ) -> Result<Self> {
        let relative =
            deberta.relative_attention.then(|| RelativePositions::new(get, config, deberta, name));
        let [content_to_position, position_to_content] =
            [deberta.content_to_position, deberta.position_to_content].map(u8::from);
        Ok(Self {
            n_terms: f64::from(1 + content_to_position + position_to_content),
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
            relative: relative.transpose()?,
        })
    }

    /// Returns the separate projections of relative positions; none if the layer's query and key
    /// projections are used.
    pub(crate) fn linear_layers(&mut self) -> impl Iterator<Item = &mut Linear> {
        self.relative
            .iter_mut()
            .flat_map(|relative| relative.key.iter_mut().chain(&mut relative.query))
    }

    /// Computes attention, `[B, L, H]`; `distances` is required with relative positions.
    pub(crate) fn apply(
        &self,
        projected: &Projected,
        distances: Option<&Distances>,
        rows: &Rows,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let split_heads = |x: &Tensor| rows.split_heads(x, self.heads);
        // The query is divided by √n_terms only, because `DropoutSeeds::attention` also divides the
        // scores by √D.
        let query = split_heads(projected.query)?.f_mul_scalar(self.n_terms.sqrt().recip())?;
        let (key, value) = (split_heads(projected.key)?, split_heads(projected.value)?);
        let bias = match &self.relative {
            Some(relative) => {
                let distances = distances.ok_or_else(|| {
                    let expected = "states of a model with relative positions";
                    Error::input("states", expected, "other states")
                })?;
                let scale = 1.0 / (last_size(&query) as f64).sqrt();
                let position_key_scale = scale * self.n_terms.sqrt().recip();
                let (query, key) = ((&query, scale), (&key, position_key_scale));
                relative.compute_scores(projected, query, key, distances, seeds)?
            }
            None => None,
        };
        let mask = match (bias, &rows.mask) {
            (Some(bias), _) => Some(rows.mask_bias(bias)?),
            (None, mask) => mask.as_ref().map(Tensor::shallow_clone),
        };
        rows.join_heads(&seeds.attention(&query, &key, &value, mask.as_ref(), self.dropout)?)
    }
}

impl RelativePositions {
    fn new(get: Lookup, config: &Config, deberta: &DebertaV2, name: &str) -> Result<Self> {
        let linear = |part: &str, enabled: bool| {
            let is_separate = enabled && !deberta.share_att_key;
            is_separate
                .then(|| Linear::new(get, &format!("{name}.attention.self.{part}")))
                .transpose()
        };
        let (width, eps) = (config.hidden_size, config.layer_norm_eps);
        let norm = || LayerNorm::new(get, "deberta.encoder.LayerNorm", width, eps);
        Ok(Self {
            embeddings: Parameter::new(get, "deberta.encoder.rel_embeddings.weight")?,
            norm: deberta.norm_rel_ebd.then(norm).transpose()?,
            dropout: config.hidden_dropout_prob,
            content_to_position: deberta.content_to_position,
            position_to_content: deberta.position_to_content,
            key: linear("pos_key_proj", deberta.content_to_position)?,
            query: linear("pos_query_proj", deberta.position_to_content)?,
        })
    }

    /// Computes the sum of the score terms that depend on relative positions, `[B, heads, L, L]`;
    /// `None` if there is no such term. Queries and keys are `[B, heads, L, D]`, each with the
    /// factor by which its dot products are multiplied.
    fn compute_scores(
        &self,
        projected: &Projected,
        (query, query_scale): (&Tensor, f64),
        (key, key_scale): (&Tensor, f64),
        distances: &Distances,
        seeds: &DropoutSeeds,
    ) -> Result<Option<Tensor>> {
        let (first, count) = (distances.first_row, distances.row_count);
        let mut embeddings = self.embeddings.f_narrow(0, first, count)?;
        if let Some(norm) = &self.norm {
            embeddings = norm.apply(&embeddings)?;
        }
        let seeds = seeds.for_table(first, count)?;
        let embeddings = seeds.dropout(embeddings, self.dropout)?;
        let heads = query.size()[1];
        // [heads, D, rows of distances]
        let project = |layer: &Linear, scale: f64| -> Result<Tensor> {
            let projected = layer.apply_adapted(&embeddings, &seeds)?.f_mul_scalar(scale)?;
            Ok(projected.f_view([count, heads, -1])?.f_permute([1, 2, 0])?)
        };
        let mut sum = None;
        if self.content_to_position {
            let layer = self.key.as_ref().unwrap_or(projected.key_layer);
            sum = Some(distances.score_queries(query, &project(layer, query_scale)?)?);
        }
        if self.position_to_content {
            let layer = self.query.as_ref().unwrap_or(projected.query_layer);
            let scores = distances.score_keys(key, &project(layer, key_scale)?)?;
            sum = Some(match sum {
                None => scores,
                Some(sum) => sum.f_add(&scores)?,
            });
        }
        Ok(sum)
    }
}

/// Distances between the tokens of each row of the batch, as indices into the table of distance
/// embeddings.
pub(crate) struct Distances {
    /// First row of the table that can occur in this batch. Only `row_count` rows from this row on
    /// are used.
    first_row: i64,
    row_count: i64,
    index: RowIndex,
}

/// Indices of distance embeddings, i64, counted from `Distances::first_row`.
enum RowIndex {
    /// `[2 L - 1]`: one index for each difference "query position - key position", from L - 1 down
    /// to -(L - 1).
    ByShift(Tensor),
    /// `[B, 1, L, L]`: one index for each pair of a query and a key.
    ByPair(Tensor),
}

impl Distances {
    /// Computes distances between tokens from `positions`, `[B, L]`, or, if absent, from the
    /// tokens' indices in their row. Returns `None` if the model does not use relative positions.
    pub(crate) fn new(
        config: &Config,
        deberta: &DebertaV2,
        rows: &Rows,
        positions: Option<&Tensor>,
    ) -> Result<Option<Self>> {
        if !deberta.relative_attention {
            return Ok(None);
        }
        let position_limit = config.max_position_embeddings;
        let span = deberta.distances_per_side(position_limit);
        let max_distance = if positions.is_some() { position_limit } else { rows.length } - 1;
        let max_bucket =
            to_buckets(&Tensor::from(max_distance), deberta, position_limit)?.int64_value(&[]);
        let first_row = (span - max_bucket).max(0);
        let row_count = (span + max_bucket + 1).min(2 * span) - first_row;
        let to_rows = |distances: &Tensor| -> Result<Tensor> {
            let rows =
                to_buckets(distances, deberta, position_limit)?.f_add_scalar(span - first_row)?;
            Ok(rows.f_clamp(0, row_count - 1)?)
        };
        let index = match positions {
            None => {
                let options = (Kind::Int64, Device::Cpu);
                let shifts =
                    Tensor::f_arange_start_step(max_distance, -max_distance - 1, -1, options)?;
                RowIndex::ByShift(torch_ext::upload(&to_rows(&shifts)?, rows.device)?)
            }
            Some(positions) => {
                let offsets = positions.f_unsqueeze(2)?.f_sub(&positions.f_unsqueeze(1)?)?;
                RowIndex::ByPair(to_rows(&offsets)?.f_unsqueeze(1)?)
            }
        };
        Ok(Some(Self { first_row, row_count, index }))
    }

    /// Computes, for each query and key, the dot product of the query with the embedding of its
    /// distance to the key: `[B, heads, L, L]`. Queries are `[B, heads, L, D]`, distance embeddings
    /// `[heads, D, rows]`.
    fn score_queries(&self, queries: &Tensor, distance_embeddings: &Tensor) -> Result<Tensor> {
        let (batch, heads, length, _) = queries.size4()?;
        // The queries of all texts are concatenated, so that each head needs only one matmul.
        let queries = queries.f_transpose(0, 1)?.f_flatten(1, 2)?;
        match &self.index {
            RowIndex::ByPair(index) => {
                let scores =
                    queries.f_matmul(distance_embeddings)?.f_view([heads, batch, length, -1])?;
                let index = index.f_expand([-1, heads, -1, -1], false)?;
                Ok(scores.f_transpose(0, 1)?.f_gather(-1, &index, false)?)
            }
            // `scores` has one column per difference of positions. The columns for a query's keys
            // start one column before the columns for the previous query's keys, so a strided view
            // selects them.
            RowIndex::ByShift(index) => {
                let scores = queries.f_matmul(&distance_embeddings.f_index_select(-1, index)?)?;
                let width = 2 * length - 1;
                let strides = [length * width, batch * length * width, width - 1, 1];
                Ok(scores.f_as_strided([batch, heads, length, length], strides, length - 1)?)
            }
        }
    }

    /// Computes, for each query and key, the dot product of the key with the embedding of its
    /// distance to the query: `[B, heads, L, L]`, queries in rows.
    fn score_keys(&self, keys: &Tensor, distance_embeddings: &Tensor) -> Result<Tensor> {
        let reversed_index = match &self.index {
            RowIndex::ByPair(index) => RowIndex::ByPair(index.f_transpose(-1, -2)?),
            RowIndex::ByShift(index) => RowIndex::ByShift(index.f_flip([0])?),
        };
        let reversed_distances = Self { index: reversed_index, ..*self };
        Ok(reversed_distances.score_queries(keys, distance_embeddings)?.f_transpose(-1, -2)?)
    }
}

/// Maps distances, i64, to buckets: one bucket per near distance, logarithmic buckets for far
/// distances.
fn to_buckets(distances: &Tensor, deberta: &DebertaV2, max_positions: i64) -> Result<Tensor> {
    let (buckets, max_distance) = (deberta.position_buckets, deberta.max_distance(max_positions));
    if buckets < 1 {
        return Ok(distances.shallow_clone());
    }
    // The dtype float32 and the order of operations are the same as in transformers, so that
    // distances at the edges of buckets are rounded equally.
    let middle = buckets / 2;
    let far_distances = distances.f_abs()?.f_clamp_min(middle)?;
    let log_range = ((max_distance - 1) as f64 / middle as f64) as f32;
    let log_range = Tensor::from(log_range).f_log()?.f_to_device(distances.device())?;
    let steps =
        far_distances.f_div_scalar(middle)?.f_log()?.f_div(&log_range)?.f_mul_scalar(middle - 1)?;
    let far_buckets = steps.f_ceil()?.f_add_scalar(middle)?.f_to_kind(Kind::Int64)?;
    let signed_far_buckets = far_buckets.f_mul(&distances.f_sign()?)?;
    Ok(distances.f_where_self(&distances.f_abs()?.f_le(middle)?, &signed_far_buckets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are from `make_log_bucket_position` of transformers 5.23.0: the sum of
    /// all buckets, the sum of bucket times distance, and the buckets of five distances.
    #[test]
    fn buckets_equal_transformers() {
        for (position_buckets, max_distance, sum, moment, expected) in [
            (256, 512, 87_297, 27_457_213, [128, 129, 192, 255, 255]),
            (256, 4096, 892_752, 1_988_883_487, [128, 129, 230, 255, 255]),
            (32, 128, 3074, 226_327, [16, 17, 27, 31, 31]),
        ] {
            let deberta = DebertaV2 { position_buckets, ..DebertaV2::v3() };
            let distances = Tensor::arange(max_distance, (Kind::Int64, Device::Cpu));
            let buckets = to_buckets(&distances, &deberta, max_distance).unwrap();
            assert_eq!(buckets.sum(Kind::Int64).int64_value(&[]), sum);
            assert_eq!((&buckets * &distances).sum(Kind::Int64).int64_value(&[]), moment);
            let middle = position_buckets / 2;
            let indices =
                [middle, middle + 1, max_distance / 2, max_distance - 2, max_distance - 1];
            assert_eq!(indices.map(|index| buckets.int64_value(&[index])), expected);
            assert_eq!(to_buckets(&-&distances, &deberta, max_distance).unwrap(), -buckets);
        }
    }
}
