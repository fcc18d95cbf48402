//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod printed;
mod published;
mod seeds;
