//! The tests of the crate from outside, in one program.
#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

mod distributed;
mod dropout;
mod packed;
mod pre_norm;
mod recompute;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// libtorch has one generator for all threads: tests that draw from it take turns.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
