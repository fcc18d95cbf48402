//! Fixtures and comparisons for this workspace's tests; never published.
use std::path::PathBuf;

#[cfg(feature = "torch")]
mod tensors;
#[cfg(feature = "torch")]
pub use tensors::{Golden, assert_close, max_abs_error};

/// The path of a file or folder below `crates/testkit/fixtures`.
pub fn fixture(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(relative)
}
