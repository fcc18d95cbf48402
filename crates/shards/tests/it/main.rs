//! External tests of the crate, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod endless;
mod parquet_rows;
mod prepared;
mod shards;
