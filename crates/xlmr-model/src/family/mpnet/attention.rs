//! Attention of MPNet (Song et al. 2020; the layout of transformers' `MPNetModel`): a bias that
//! depends on the distance between query and key is added to each score.
use tch::{Device, Kind, Tensor};

use crate::batch::dropout::DropoutSeeds;
use crate::batch::packing::Rows;
use crate::family::mpnet::MpNet;
use crate::layers::linear::{Lookup, Parameter};
use crate::parameters::{Init, Specs};
use crate::{Config, Error, Result};

/// Number of buckets of distances. transformers does not take it from the configuration.
pub(crate) const N_BUCKETS: i64 = 32;

/// Distance from which all distances are in the last bucket.
const MAX_DISTANCE: f64 = 128.0;

/// Name of the table of position biases, which all layers share.
const TABLE: &str = "mpnet.encoder.relative_attention_bias.weight";

/// Self-attention with position biases.
#[derive(Clone, Debug)]
pub(crate) struct BiasedAttention {
    /// Biases by bucket and head, `[buckets, heads]`.
    table: Parameter,
    heads: i64,
    dropout: f64,
}

/// Adds the table of position biases.
pub(crate) fn add_position_biases(specs: &mut Specs, config: &Config, options: &MpNet) {
    let shape = [options.relative_attention_num_buckets, config.num_attention_heads];
    specs.add(TABLE, &shape, Init::Normal);
}

impl BiasedAttention {
    pub(crate) fn new(get: Lookup, config: &Config) -> Result<Self> {
        Ok(Self {
            table: Parameter::new(get, TABLE)?,
            heads: config.num_attention_heads,
            dropout: config.attention_probs_dropout_prob,
        })
    }

    /// Computes attention, `[B, L, H]`, of queries, keys and values, `[B, L, H]`.
    pub(crate) fn apply(
        &self,
        [query, key, value]: [&Tensor; 3],
        buckets: Option<&Buckets>,
        rows: &Rows,
        seeds: &DropoutSeeds,
    ) -> Result<Tensor> {
        let missing_error =
            || Error::input("states", "states of a model with position biases", "other states");
        let buckets = buckets.ok_or_else(missing_error)?;
        let [query, key, value] = [query, key, value].map(|x| rows.split_heads(x, self.heads));
        let (query, key, value) = (query?, key?, value?);
        let bias = buckets.select(&self.table)?.f_to_kind(query.f_kind()?)?;
        let mask = rows.mask_bias(bias)?;
        rows.join_heads(&seeds.attention(&query, &key, &value, Some(&mask), self.dropout)?)
    }
}

/// Buckets of the distances between the tokens of each row, i64.
pub(crate) enum Buckets {
    /// `[2 L - 1]`: one bucket for each difference "key position - query position", from -(L - 1)
    /// to L - 1.
    ByShift(Tensor),
    /// `[B, L, L]`: one bucket for each pair of a query and a key.
    ByPair(Tensor),
}

impl Buckets {
    /// Computes buckets from `positions`, `[B, L]`, or, if absent, from the tokens' indices in
    /// their row.
    pub(crate) fn new(rows: &Rows, positions: Option<&Tensor>) -> Result<Self> {
        match positions {
            None => {
                let options = (Kind::Int64, Device::Cpu);
                let shifts = Tensor::f_arange_start(1 - rows.length, rows.length, options)?;
                Ok(Self::ByShift(torch_ext::upload(&to_buckets(&shifts)?, rows.device)?))
            }
            Some(positions) => {
                let shifts = positions.f_unsqueeze(1)?.f_sub(&positions.f_unsqueeze(2)?)?;
                Ok(Self::ByPair(to_buckets(&shifts)?))
            }
        }
    }

    /// Returns the bias of each query and key, `[1 or B, heads, L, L]`, from the table of biases,
    /// `[buckets, heads]`.
    fn select(&self, table: &Tensor) -> Result<Tensor> {
        match self {
            Self::ByPair(buckets) => {
                let biases = Tensor::f_embedding(table, buckets, -1, false, false)?;
                Ok(biases.f_permute([0, 3, 1, 2])?)
            }
            // Each window of L shifts has the biases of one query; the first window belongs to the
            // last query.
            Self::ByShift(buckets) => {
                let length = (buckets.size1()? + 1) / 2;
                let biases = table.f_index_select(0, buckets)?.f_transpose(0, 1)?;
                Ok(biases.f_unfold(1, length, 1)?.f_flip([1])?.f_unsqueeze(0)?)
            }
        }
    }
}

/// Maps shifts "key position - query position", i64, to buckets. Each direction has 16 buckets: one
/// for each distance below 8, and logarithmic buckets for far distances.
fn to_buckets(shifts: &Tensor) -> Result<Tensor> {
    let per_direction = N_BUCKETS / 2;
    let n_exact = per_direction / 2;
    let distances = shifts.f_abs()?;
    // The dtype float32 and the order of operations are the same as in transformers, so that
    // distances at the edges of buckets are rounded equally.
    let far_distances = distances.f_clamp_min(n_exact)?.f_to_kind(Kind::Float)?;
    let steps = far_distances
        .f_div_scalar(n_exact)?
        .f_log()?
        .f_div_scalar((MAX_DISTANCE / n_exact as f64).ln())?
        .f_mul_scalar(per_direction - n_exact)?
        .f_to_kind(Kind::Int64)?;
    let far_buckets = steps.f_add_scalar(n_exact)?.f_clamp_max(per_direction - 1)?;
    let buckets = distances.f_where_self(&distances.f_lt(n_exact)?, &far_buckets)?;
    let is_after = shifts.f_gt(0i64)?.f_to_kind(Kind::Int64)?;
    Ok(is_after.f_mul_scalar(per_direction)?.f_add(&buckets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values are from `MPNetEncoder.relative_position_bucket` of transformers 5.24.0:
    /// the sum of all buckets, the sum of bucket times distance, and some buckets.
    #[test]
    fn buckets_equal_transformers() {
        let shifts = Tensor::arange_start(-300i64, 301i64, (Kind::Int64, Device::Cpu));
        let buckets = to_buckets(&shifts).unwrap();
        assert_eq!(buckets.sum(Kind::Int64).int64_value(&[]), 13_190);
        assert_eq!((&buckets * &shifts.abs()).sum(Kind::Int64).int64_value(&[]), 2_060_570);
        let selected = [0, 1, -1, 7, 8, -8, 11, 12, 16, 31, 32, 64, -64, 127, 128, -300];
        let selected = selected.map(|shift| buckets.int64_value(&[shift + 300]));
        assert_eq!(selected, [0, 17, 1, 23, 24, 8, 24, 25, 26, 27, 28, 30, 14, 31, 31, 15]);
    }
}
