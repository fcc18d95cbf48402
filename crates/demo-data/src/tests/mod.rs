#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod common;
mod mixture;
mod parallel;
mod probes;
mod questions;
mod relations;
mod xquad;
