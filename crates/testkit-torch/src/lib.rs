//! Tensors stored by an outside reference, and comparisons that say where two tensors differ; never published.
mod tensors;

pub use tensors::{Golden, assert_close, max_abs_error};
pub use testkit::fixture;
