//! Code shared by the recipes. Each paper has a folder next to this one, whose `main.rs` follows
//! the paper's method section.

pub mod inference_modes;
pub mod numbers;
pub mod sentences;
