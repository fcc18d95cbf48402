//! Gradients through recomputed functions.
use std::cell::Cell;
use std::rc::Rc;

use tch::{Kind, Tensor};
use torch_ext::recompute;

use crate::{FLOAT, lock_rng};

#[test]
fn recomputation_does_not_change_gradients_or_dropout() {
    let _lock = lock_rng();
    let weight = Tensor::randn([6, 6], FLOAT).set_requires_grad(true);
    let input = Tensor::randn([9, 6], FLOAT);
    let pass = |recomputed: bool| {
        tch::manual_seed(8);
        let x = input.copy().set_requires_grad(true);
        let _ = weight.grad().defined().then(|| weight.grad().zero_());
        let captured = weight.shallow_clone();
        let body = move |x: &Tensor| Ok(x.matmul(&captured).dropout(0.5, true).gelu("none"));
        let (first, second) = if recomputed {
            let first = recompute(&x, body).unwrap();
            let captured = weight.shallow_clone();
            (first.shallow_clone(), recompute(&first, move |x| Ok(x.matmul(&captured).tanh())))
        } else {
            let first = body(&x).unwrap();
            (first.shallow_clone(), Ok(first.matmul(&weight).tanh()))
        };
        let second = second.unwrap();
        second.sum(Kind::Float).backward();
        let next_draw = Tensor::randn([3], FLOAT);
        drop(first);
        (second, x.grad(), weight.grad().copy(), next_draw)
    };
    assert_eq!(pass(true), pass(false));
}

#[test]
fn the_body_runs_again_in_the_backward_pass() {
    let _lock = lock_rng();
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let calls = Rc::new(Cell::new(0));
    let counter = Rc::clone(&calls);
    let out = recompute(&x, move |x| {
        counter.set(counter.get() + 1);
        Ok(x.exp())
    });
    assert_eq!(calls.get(), 1);
    out.unwrap().sum(Kind::Float).backward();
    assert_eq!(calls.get(), 2);
    assert!((x.grad() - x.exp()).abs().max().double_value(&[]) < 1e-6);
}

#[test]
fn an_error_or_a_panic_of_the_body_is_returned() {
    let _lock = lock_rng();
    let x = Tensor::ones([2], FLOAT).set_requires_grad(true);
    let error = recompute(&x, |_| Err("no layer".to_owned())).unwrap_err();
    assert!(error.to_string().contains("no layer"), "{error}");
    let error = recompute(&x, |x| Ok(x.matmul(&Tensor::zeros([3, 3], (x.kind(), x.device())))));
    assert!(error.unwrap_err().to_string().contains("panicked"));
}
