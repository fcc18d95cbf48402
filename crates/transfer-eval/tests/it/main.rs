//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod cli;
mod cli_examples;
mod csls;
mod families;
mod map;
mod mlama;
mod names;
mod retrieval;
mod spans;
mod trec;
