//! External tests of the crate, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod atomic_file;
mod lock;
mod read;
