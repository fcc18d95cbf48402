//! Tensors stored by an outside reference, and comparisons that say where two tensors differ; never published.
//!
//! A dev-dependency only: a missing fixture or a difference panics, which is how a Rust test fails.
mod tensors;

pub use tensors::{Golden, assert_close, max_abs_error};
pub use testkit::fixture;
