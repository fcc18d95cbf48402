//! The tests of the crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod background;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod early_stop;
mod epochs;
mod faults;
mod parquet_shards;
mod precision;
mod profile;
mod ranks;
mod resume;
mod shards;
mod streams;
mod task_slots;
mod trace;
