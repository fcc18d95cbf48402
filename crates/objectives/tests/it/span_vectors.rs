//! `span_vectors` against a mean taken token by token.
use crate::common::*;
use objectives::{CandidateSpans, span_vectors};

/// B = 2, L = 6, S = 3; the first span of row 1 is the whole window, its last slot is empty.
fn spans() -> [Tensor; 3] {
    [
        table(&[vec![0, 2, 5], vec![0, 3, 77]]),
        table(&[vec![0, 4, 5], vec![5, 4, -3]]),
        flags(&[vec![true; 3], vec![true, true, false]]),
    ]
}

fn run(hidden: &Tensor, [starts, ends, valid]: &[Tensor; 3]) -> Tensor {
    span_vectors(hidden, &CandidateSpans { starts, ends, valid }).unwrap()
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let hidden = states(2, 6, 4);
    let spans = spans();
    let got = run(&tensor3(&hidden), &spans);
    assert_eq!((got.size(), got.kind()), (vec![2, 3, 4], Kind::Double));
    for (b, k, start, end) in [(0, 0, 0, 0), (0, 1, 2, 4), (0, 2, 5, 5), (1, 0, 0, 5), (1, 1, 3, 4)]
    {
        let want = Tensor::from_slice(&naive_mean(&hidden, b, start, end));
        testkit::assert_close("mean", &got.get(b as i64).get(k), &want, 1e-14);
    }
    assert_eq!(floats(&got.get(1).get(2)), [0.0; 4]);
    let weights = tensor(&ramp(6, 4, 0.4, 1.0)).view([2, 3, 4]);
    let flat = hidden.into_shape_with_order((12, 4)).unwrap();
    check_gradient(&flat, |x| (run(&x.view([2, 6, 4]), &spans) * &weights).sum(Kind::Double));
}

#[test]
fn float32_and_lower_stay_close() {
    let hidden = tensor3(&states(2, 384, 64));
    let (starts, ends) =
        (table(&[vec![0, 3, 100], vec![7, 7, 383]]), table(&[vec![383, 5, 130], vec![40, 7, 383]]));
    let spans = [starts, ends, flags(&[vec![true; 3], vec![true; 3]])];
    let want = run(&hidden, &spans);
    testkit::assert_close("f32", &run(&hidden.to_kind(Kind::Float), &spans), &want, 1e-6);
    for kind in [Kind::BFloat16, Kind::Half] {
        let x = hidden.to_kind(kind).set_requires_grad(true);
        let got = run(&x, &spans);
        got.sum(Kind::Float).backward();
        assert_eq!((got.kind(), x.grad().kind()), (Kind::Float, kind));
        // Rounding moves a state below 2 by at most 2^-8; the sum itself runs in f32.
        testkit::assert_close("low", &got, &want, 0.004);
    }
}

#[test]
fn tokens_of_no_span_receive_exactly_zero_whatever_they_hold() {
    let mut hidden = states(2, 6, 4);
    for index in [[0, 1], [1, 0]] {
        hidden.slice_mut(ndarray::s![index[0], index[1], ..]).fill(f64::NAN);
    }
    let [starts, ends, valid] = spans();
    let valid = valid.logical_and(&flags(&[vec![true; 3], vec![false, true, true]]));
    let x = tensor3(&hidden).set_requires_grad(true);
    let got = run(&x, &[starts, ends, valid]);
    assert!(floats(&got).iter().all(|value| value.is_finite()));
    got.sum(Kind::Double).backward();
    for (b, l) in [(0, 1), (1, 0), (1, 1), (1, 2), (1, 5)] {
        assert_zero_row(&x.grad(), &[b, l]);
    }
    assert_eq!(floats(&x.grad().get(0).get(3)), [1.0 / 3.0; 4]);
}

#[test]
fn sizes_at_the_edge() {
    for (b, l, s) in [(0, 3, 2), (2, 3, 0), (2, 0, 2)] {
        let hidden = Tensor::zeros([b, l, 5], FLOAT);
        let none = Tensor::zeros([b, s], INT64);
        let got =
            run(&hidden, &[none.shallow_clone(), none.shallow_clone(), none.to_kind(Kind::Bool)]);
        assert_eq!(got.size(), [b, s, 5]);
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let hidden = tensor3(&states(2, 6, 4));
    let [starts, ends, valid] = spans();
    let refused = |hidden: &Tensor, starts: &Tensor, ends: &Tensor, valid: &Tensor| {
        refusal(span_vectors(hidden, &CandidateSpans { starts, ends, valid }))
    };
    let states = |hidden: &Tensor| refused(hidden, &starts, &ends, &valid);
    assert_messages([
        (states(&hidden.view([12, 4])), "hidden: expected shape [B, L, H], got [12, 4]"),
        (
            states(&hidden.narrow(0, 0, 1)),
            "candidates.starts: expected shape [B, M] = [1, 3], got [2, 3]",
        ),
        (states(&hidden.narrow(1, 0, 5)), "candidates.starts: every value must be in 0..5…"),
        (states(&hidden.to_kind(Kind::Int)), "hidden: expected dtype Float…"),
        (
            refused(&hidden, &ends, &starts, &valid),
            "candidates.ends[0, 1] = 2: the span starts at 4…",
        ),
        (refused(&hidden, &starts, &ends, &valid.ones_like()), "…from 0 to 77"),
    ]);
}
