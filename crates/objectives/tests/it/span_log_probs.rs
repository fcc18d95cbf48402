//! Tests of `span_log_probs`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{SpanConfig, SpanReduction, span, span_log_probs};

const STARTS: [[i64; 3]; 2] = [[0, 2, 5], [1, 1, 4]];
const ENDS: [[i64; 3]; 2] = [[5, 3, 5], [1, 3, 5]];

fn span_tensors() -> (Tensor, Tensor) {
    (table(&STARTS.map(Vec::from)), table(&ENDS.map(Vec::from)))
}

fn mask_with_holes() -> Array2<bool> {
    let mut mask = Array2::from_elem((2, 6), true);
    (mask[[0, 1]], mask[[1, 0]], mask[[1, 2]]) = (false, false, false);
    mask
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let (x, y) = (sines(2, 6, 0.731, 3.0), sines(2, 6, 1.137, 3.0));
    let (s, e) = span_tensors();
    let mask = mask_with_holes();
    for mask in [None, Some(&mask)] {
        let tensor_mask = mask.map(mask_tensor);
        let run =
            |x: &Tensor, y: &Tensor| span_log_probs(x, y, &s, &e, tensor_mask.as_ref()).unwrap();
        let actual = run(&tensor(&x), &tensor(&y));
        assert_eq!(actual.size(), [2, 3]);
        for b in 0..2 {
            let allowed = |l: usize| mask.is_none_or(|mask| mask[[b, l]]);
            for k in 0..3 {
                let start = naive_nll(x.row(b), STARTS[b][k] as usize, allowed);
                let end = naive_nll(y.row(b), ENDS[b][k] as usize, allowed);
                assert_near(actual.double_value(&[b as i64, k as i64]), -start - end, 1e-12);
            }
        }
        // The weights differ, so that errors of different entries cannot cancel.
        let weights = tensor(&sines(2, 3, 0.4, 1.0));
        let sum = |log_probs: Tensor| (log_probs * &weights).sum(Kind::Double);
        check_gradient(&x, |x| sum(run(x, &tensor(&y))));
        check_gradient(&y, |y| sum(run(&tensor(&x), y)));
    }
}

#[test]
fn the_negative_gold_log_probability_is_the_span_loss() {
    let (x, y) = (tensor(&sines(2, 6, 0.3, 4.0)), tensor(&sines(2, 6, 0.9, 4.0)));
    let (s, e) = span_tensors();
    let log_probs = span_log_probs(&x, &y, &s, &e, None).unwrap();
    let sum = SpanConfig { reduction: SpanReduction::Sum, ..Default::default() };
    for k in 0..3 {
        let loss = span(&x, &y, &s.select(1, k), &e.select(1, k), None, &sum).unwrap();
        assert_near(
            -log_probs.select(1, k).mean(Kind::Double).double_value(&[]),
            scalar(&loss),
            1e-14,
        );
    }
}

#[test]
fn hand_computed_values_are_returned() {
    // The start probabilities are 3/4, 1/4 and 0; the end probabilities are equal.
    let x = Tensor::from_slice(&[3_f64.ln(), 0.0, f64::NEG_INFINITY]).view([1, 3]);
    let y = Tensor::zeros([1, 3], DOUBLE);
    let (s, e) = (table(&[vec![0, 1, 2]]), table(&[vec![1, 1, 2]]));
    let log_probs = span_log_probs(&x, &y, &s, &e, None).unwrap();
    assert_near(log_probs.double_value(&[0, 0]), 0.25_f64.ln(), 1e-14); // 3/4 · 1/3
    assert_near(log_probs.double_value(&[0, 1]), (1.0 / 12.0_f64).ln(), 1e-14);
    assert_eq!(log_probs.double_value(&[0, 2]), f64::NEG_INFINITY);
}

#[test]
fn masked_positions_receive_exactly_zero() {
    let mut logits_with_nan = sines(2, 6, 0.417, 2.0);
    let mask = mask_with_holes();
    for (index, &is_allowed) in mask.indexed_iter() {
        if !is_allowed {
            logits_with_nan[index] = f64::NAN;
        }
    }
    let x = leaf(&logits_with_nan);
    let (s, e) = span_tensors();
    let log_probs = span_log_probs(&x, &x, &s, &e, Some(&mask_tensor(&mask))).unwrap();
    assert!(floats(&log_probs).iter().all(|value| value.is_finite()));
    (&log_probs * tensor(&sines(2, 3, 0.4, 1.0))).sum(Kind::Double).backward();
    for (index, &is_allowed) in mask.indexed_iter() {
        let grad = x.grad().double_value(&[index.0 as i64, index.1 as i64]);
        assert!(if is_allowed { grad != 0.0 } else { grad == 0.0 }, "{index:?}: {grad}");
    }
}

#[test]
fn minimum_sizes_are_supported() {
    let run = |batch: i64, length: i64, slots: i64| {
        let x = Tensor::zeros([batch, length], FLOAT);
        let p = Tensor::zeros([batch, slots], INT64);
        span_log_probs(&x, &x, &p, &p, None).unwrap()
    };
    for (batch, length, slots) in [(0, 4, 2), (2, 4, 0), (0, 0, 0), (2, 0, 0)] {
        assert_eq!(run(batch, length, slots).size(), [batch, slots]);
    }
    assert_eq!(floats(&run(1, 1, 1)), [0.0]); // one token: probability 1
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let (x, y) = (sines(2, 6, 0.731, 6.0), sines(2, 6, 1.137, 6.0));
    let (s, e) = span_tensors();
    let expected = span_log_probs(&tensor(&x), &tensor(&y), &s, &e, None).unwrap();
    for kind in [Kind::BFloat16, Kind::Half] {
        let [x, y] = [&x, &y].map(|logits| tensor(logits).to_kind(kind).set_requires_grad(true));
        let log_probs = span_log_probs(&x, &y, &s, &e, None).unwrap();
        log_probs.sum(Kind::Float).backward();
        assert_eq!((log_probs.kind(), x.grad().kind()), (Kind::Float, kind));
        // Rounding changes a logit below 8 by at most 2^-6, and a span's log-probability by at most
        // 4 · 2^-6.
        testkit::assert_close("log_probs", &log_probs, &expected, 0.063);
    }
}

#[test]
fn an_invalid_logit_makes_its_row_nan() {
    let valid_logits = tensor(&sines(2, 6, 0.9, 1.0));
    let (s, e) = span_tensors();
    for value in [f64::NAN, f64::INFINITY] {
        let mut invalid_logits = sines(2, 6, 0.9, 1.0);
        invalid_logits[[1, 3]] = value;
        let log_probs =
            span_log_probs(&valid_logits, &tensor(&invalid_logits), &s, &e, None).unwrap();
        assert!(floats(&log_probs.get(1)).iter().all(|value| value.is_nan()));
        assert!(floats(&log_probs.get(0)).iter().all(|value| value.is_finite()));
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let x = Tensor::zeros([2, 6], FLOAT);
    let (s, e) = span_tensors();
    let run = |s: &Tensor, e: &Tensor| error_message(span_log_probs(&x, &x, s, e, None));
    assert_messages([
        (run(&s.view([6]), &e), "starts: expected shape [B, K], got [6]"),
        (run(&s, &e.narrow(1, 0, 2)), "ends: expected shape [B, K] = [2, 3], got [2, 2]"),
        (run(&s.narrow(0, 0, 1), &e), "starts: expected shape [B, K] = [2, 3], got [1, 3]"),
        (run(&s, &e.to_kind(Kind::Int)), "ends: expected dtype Int64, got Int…"),
        (run(&s, &(&e + 1)), "ends: every value must be in 0..6…from 2 to 6"),
        (run(&(&s - 1), &e), "starts: every value…"),
        (run(&Tensor::new(), &e), "starts: the tensor is undefined…"),
    ]);
}
