//! Layers of encoders: linear layers, norms, activations, rotary positions.
pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod embeddings;
pub(crate) mod linear;
pub(crate) mod lora;
pub(crate) mod names;
pub(crate) mod parameters;
pub(crate) mod rotary;
pub(crate) mod rotary_attention;

use tch::Tensor;

/// Returns the size of the last dimension; the tensor has at least one dimension.
pub(crate) fn last_size(x: &Tensor) -> i64 {
    x.size()[x.dim() - 1]
}
