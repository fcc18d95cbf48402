//! Fixtures for this workspace's tests; never published. Needs no libtorch: tensors are compared in `testkit-torch`.
use std::path::PathBuf;

/// The path of a file or folder below `crates/testkit/fixtures`.
pub fn fixture(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(relative)
}
