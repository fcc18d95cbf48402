//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod atomic_file;
mod fs;
mod lock;
mod read;
