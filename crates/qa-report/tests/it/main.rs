//! Integration tests of the crate, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod report;
mod report_page;
