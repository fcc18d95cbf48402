//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod adapters;
mod command_line;
mod jobs;
mod resume;
mod toy;
