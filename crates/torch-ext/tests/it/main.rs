//! Integration tests of the crate.
#![allow(clippy::unwrap_used, clippy::panic)] // test helpers

mod distributed;
mod dropout;
mod packed;
mod pre_norm;
mod recompute;

use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};

const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);

/// Prevents other tests from using libtorch's random generator, which all threads share.
fn lock_rng() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().copy().set_requires_grad(true)
}

fn max_difference(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.size(), b.size());
    (a.to_kind(Kind::Double) - b.to_kind(Kind::Double)).abs().max().double_value(&[])
}

/// Asserts that all differences are below `bound`.
#[track_caller]
fn assert_close(got: &Tensor, want: &Tensor, bound: f64) {
    let difference = max_difference(got, want);
    assert!(difference < bound, "got a difference of {difference}, expected less than {bound}");
}

/// Asserts that all differences of the gradients of two lists of leaves are below `bound`.
#[track_caller]
fn assert_close_gradients(got: &[Tensor], want: &[Tensor], bound: f64) {
    for (got, want) in got.iter().zip(want) {
        assert_close(&got.grad(), &want.grad(), bound);
    }
}
