//! The tests of the crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod report;
mod report_page;
