//! Layers of encoders: linear layers, norms, activations, rotary positions.
pub(crate) mod activation;
pub(crate) mod encoder;
pub(crate) mod linear;
pub(crate) mod names;
pub(crate) mod parameters;
pub(crate) mod rotary;
pub(crate) mod rotary_attention;
