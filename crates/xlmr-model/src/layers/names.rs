//! The linear layers of each architecture that adapters may change.
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

use LoraTarget::{AttentionOutput, Intermediate, Key, Output, Query, Value};

/// Linear layers that adapters may change: their names without the encoder layer's prefix, and
/// their targets. Linear layers that share an input come first.
pub(crate) type LinearLayers = &'static [(&'static str, &'static [LoraTarget])];

pub(crate) const BERT_LINEAR: LinearLayers = &[
    ("attention.self.query", &[Query]),
    ("attention.self.key", &[Key]),
    ("attention.self.value", &[Value]),
    ("attention.output.dense", &[AttentionOutput]),
    ("intermediate.dense", &[Intermediate]),
    ("output.dense", &[Output]),
];
pub(crate) const DEBERTA_LINEAR: LinearLayers = &[
    ("attention.self.query_proj", &[Query]),
    ("attention.self.key_proj", &[Key]),
    ("attention.self.value_proj", &[Value]),
    ("attention.output.dense", &[AttentionOutput]),
    ("intermediate.dense", &[Intermediate]),
    ("output.dense", &[Output]),
];
pub(crate) const DISTIL_LINEAR: LinearLayers = &[
    ("attention.q_lin", &[Query]),
    ("attention.k_lin", &[Key]),
    ("attention.v_lin", &[Value]),
    ("attention.out_lin", &[AttentionOutput]),
    ("ffn.lin1", &[Intermediate]),
    ("ffn.lin2", &[Output]),
];
pub(crate) const MODERN_LINEAR: LinearLayers = &[
    ("attn.Wqkv", &[Query, Key, Value]),
    ("attn.Wo", &[AttentionOutput]),
    ("mlp.Wi", &[Intermediate]),
    ("mlp.Wo", &[Output]),
];
pub(crate) const EURO_LINEAR: LinearLayers = &[
    ("self_attn.q_proj", &[Query]),
    ("self_attn.k_proj", &[Key]),
    ("self_attn.v_proj", &[Value]),
    ("mlp.gate_proj", &[Intermediate]),
    ("mlp.up_proj", &[Intermediate]),
    ("self_attn.o_proj", &[AttentionOutput]),
    ("mlp.down_proj", &[Output]),
];
