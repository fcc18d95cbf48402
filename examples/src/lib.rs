//! Code shared by the recipes. Each recipe has a folder next to `src`; its `main.rs` follows the
//! paper's method section.

pub mod inference_modes;
pub mod numbers;
pub mod sentences;
