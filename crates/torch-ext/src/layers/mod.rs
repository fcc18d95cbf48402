//! Operations of encoder layers and losses that tch does not bind, and activation checkpointing.
mod encoder_layer;
mod flash_attention;
mod linear_cross_entropy;
mod packed;
mod pre_norm;
mod recompute;
mod streamed_logsumexp;

pub use encoder_layer::{EncoderLayer, LayerShape, LayerWeights, LinearWeights};
pub use flash_attention::{FlashConfig, flash_attention, flash_attention_error};
pub use linear_cross_entropy::{LinearCrossEntropy, LossReduction, linear_cross_entropy};
pub use packed::{Attention, dropout_add_norm, packed_attention};
pub use pre_norm::{gated_gelu, rotary};
pub use recompute::recompute;
pub use streamed_logsumexp::{KeyBlocks, streamed_logsumexp};
