//! The tests of the crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod common;
mod parallel;
mod probes;
mod program;
mod questions;
mod xquad;
