//! What recipes share. Each paper has a folder beside this one; its `main.rs` reads like the
//! paper's method section.

pub mod inference_modes;
pub mod numbers;
pub mod sentences;
