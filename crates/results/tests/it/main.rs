//! The tests of this crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod printed;
mod published;
mod seeds;
