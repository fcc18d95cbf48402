//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod micro_batches;
mod predictions;
