//! The linear layers of an encoder layer that adapters may change.
use serde::{Deserialize, Serialize};

/// A linear layer within an encoder layer, independent of the architecture's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTarget {
    /// The query projection. ModernBERT has a single projection for queries, keys and values, so a
    /// LoRA must have all three targets or none of them.
    Query,
    /// The key projection.
    Key,
    /// The value projection.
    Value,
    /// The output projection of attention.
    AttentionOutput,
    /// The first linear layer of the feed-forward block, including EuroBERT's gate.
    Intermediate,
    /// The second linear layer of the feed-forward block.
    Output,
}

/// Linear layers that adapters may change: their names without the encoder layer's prefix, and
/// their targets. Linear layers that share an input come first.
pub(crate) type LinearLayers = &'static [(&'static str, &'static [LoraTarget])];
