//! Fixtures, reference values and tensor comparisons for this workspace's tests. The crate is not
//! published.
//!
//! A dev-dependency only: a missing fixture or a difference panics, which is how a Rust test fails.
//! It needs no libtorch. Tensors are passed through traits that `tch` implements. If `tch` were a
//! dependency, even an optional one, `cargo test --workspace` would link every test of this crate
//! with libtorch.
use std::path::PathBuf;

mod browser;
mod compare;
#[cfg(unix)]
mod examples;
mod golden;
mod gzip;
mod long;
mod peers;
mod pieces;
pub mod process;
mod program;

pub use browser::Browser;
pub use compare::{assert_close, max_abs_error};
#[cfg(unix)]
pub use examples::run_examples;
pub use golden::Golden;
pub use gzip::gzip;
pub use long::{cases, long};
pub use peers::{Peers, peers_python, transformers_4_packages};
pub use pieces::deberta_pieces;
pub use program::{Arguments, Ended, Program, ended};

/// Returns the path of a file or folder below `crates/testkit/fixtures`.
pub fn fixture(relative: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(relative)
}
