//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod cached;
#[cfg(feature = "fetch")]
mod common;
#[cfg(feature = "fetch")]
mod fetched;
#[cfg(feature = "fetch")]
mod peers;
#[cfg(feature = "fetch")]
mod refused;
