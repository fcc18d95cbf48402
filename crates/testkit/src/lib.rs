//! Fixtures, reference values and tensor comparisons for this workspace's tests. The crate is not
//! published.
//!
//! The crate is used only as a dev-dependency, so its functions panic if a fixture is missing or
//! values differ.
//!
//! The crate does not depend on libtorch: tensors are passed through traits that `tch` implements.
//! If `tch` were a dependency, even an optional one, `cargo test --workspace` would link every test
//! of this crate with libtorch.
use std::path::PathBuf;

mod browser;
mod compare;
#[cfg(unix)]
mod examples;
mod golden;
mod gzip;
mod long;
mod message;
mod peers;
pub mod process;
mod program;
mod spm_model;

pub use browser::Browser;
pub use compare::{assert_close, max_abs_error};
#[cfg(unix)]
pub use examples::run_examples;
pub use golden::Golden;
pub use gzip::gzip;
pub use long::{case_count, is_long};
pub use message::assert_contains;
pub use peers::{PythonPackages, python_with, transformers_4_packages};
pub use program::{Arguments, Program, RunOutput, run_command};
pub use spm_model::deberta_spm_model;

/// Returns the path of a file or folder below `crates/testkit/fixtures`.
pub fn fixture(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(relative)
}
