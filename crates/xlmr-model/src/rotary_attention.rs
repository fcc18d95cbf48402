//! Self-attention with rotary positions.
use tch::Tensor;
use torch_ext::Attention;

use crate::Result;
use crate::batch::Batch;

/// Self-attention with rotary positions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RotaryAttention {
    pub(crate) heads: i64,
    /// Maximum distance to an attended token before or after a token in a local layer; absent in a
    /// global layer.
    pub(crate) window_radius: Option<i64>,
    pub(crate) dropout: f64,
}

impl RotaryAttention {
    /// Computes attention, `[.., 3 H]` (queries, keys and values) to `[.., H]`, packed or padded as
    /// in `batch`.
    pub(crate) fn apply(&self, query_key_value: &Tensor, batch: &Batch) -> Result<Tensor> {
        let Self { heads, window_radius, dropout } = *self;
        let positions = batch.rotary()?;
        let local = positions.local.as_ref().filter(|_| window_radius.is_some());
        let [query, key, value] =
            local.unwrap_or(&positions.global).apply(query_key_value, heads)?;
        let (rows, seeds) = (&batch.rows, &batch.seeds);
        if let Some(packing) = &batch.packing {
            let dropout = if seeds.train { dropout } else { 0.0 };
            let attention = Attention { heads, window: window_radius, dropout };
            return packing.attend(&query, &key, &value, &seeds.offsets, &attention);
        }
        let split_heads = |x: &Tensor| -> Result<Tensor> {
            Ok(x.f_view([rows.batch, rows.length, heads, -1])?.f_transpose(1, 2)?)
        };
        let (query, key, value) = (split_heads(&query)?, split_heads(&key)?, split_heads(&value)?);
        let mask = if window_radius.is_some() {
            positions.window_mask.as_ref()
        } else {
            rows.mask.as_ref()
        };
        let attended = seeds.attention(&query, &key, &value, mask, dropout)?;
        Ok(attended.f_transpose(1, 2)?.f_reshape([rows.batch, rows.length, -1])?)
    }
}
