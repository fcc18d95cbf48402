//! Self-attention with rotary positions.
use tch::Tensor;
use torch_ext::Attention;

use crate::Result;
use crate::batch::Batch;
use crate::layers::attention::attend;

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
        let mask = if window_radius.is_some() { &positions.window_mask } else { &batch.rows.mask };
        let attention = Attention { heads, window: window_radius, dropout };
        attend([&query, &key, &value], batch, attention, mask.as_ref())
    }
}
