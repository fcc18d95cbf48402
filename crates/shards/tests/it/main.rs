//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod endless;
mod parquet_rows;
mod prepared;
mod shards;
