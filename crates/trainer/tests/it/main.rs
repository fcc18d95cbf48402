//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // test helpers

mod background;
mod checkpoints;
#[path = "../common/mod.rs"]
mod common;
mod early_stop;
mod epochs;
mod memory_source;
mod precision;
mod profile;
mod ranks;
mod resume;
mod step_context;
mod streams;
mod task_slots;
mod trace;
