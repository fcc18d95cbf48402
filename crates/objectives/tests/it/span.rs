//! Tests of `span`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{Error, GroupNormalization, OutOfWindow, SpanConfig, SpanReduction, span};

fn sum_config() -> SpanConfig {
    SpanConfig { reduction: SpanReduction::Sum, ..Default::default() }
}

/// The start or end loss, computed with loops; `None` if no row has its position in the window.
fn naive_loss(logits: &Array2<f64>, positions: &[i64], mask: Option<&Array2<bool>>) -> Option<f64> {
    let groups: Vec<i64> = (0..logits.nrows() as i64).collect();
    naive_group_loss(logits, &groups, positions, mask, GroupNormalization::Shared)
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let (starts, ends) = (sines(4, 6, 0.731, 3.0), sines(4, 6, 1.137, 3.0));
    // In row 1, start and end are outside the window; in row 2, only the end.
    let (s, e) = ([2, 6, 3, 0], [4, 9, -1, 0]);
    let mut mask = Array2::from_elem((4, 6), true);
    for index in [[0, 0], [0, 5], [2, 1], [1, 2]] {
        mask[index] = false;
    }
    for mask in [None, Some(&mask)] {
        let tensor_mask = mask.map(mask_tensor);
        let run = |x: &Tensor, y: &Tensor| {
            span(x, y, &ids(&s), &ids(&e), tensor_mask.as_ref(), &sum_config()).unwrap()
        };
        let naive = naive_loss(&starts, &s, mask).unwrap() + naive_loss(&ends, &e, mask).unwrap();
        LossCase { inputs: [&starts, &ends], loss: &|[x, y]| run(x, y), naive }.check(1e-12);
    }
}

#[test]
fn hand_computed_values_are_returned() {
    let zeros = Tensor::zeros([2, 8], DOUBLE);
    let run = |mask: Option<&Tensor>, config: &SpanConfig| {
        scalar(&span(&zeros, &zeros, &ids(&[1, 2]), &ids(&[1, 3]), mask, config).unwrap())
    };
    // For uniform predictions, the start loss and the end loss are ln L.
    assert_near(run(None, &sum_config()), 2.0 * 8_f64.ln(), 1e-14);
    assert_near(run(None, &SpanConfig::default()), 8_f64.ln(), 1e-14);
    // With four of eight positions in the context, each loss is ln 4.
    let mask = ids(&[0, 1, 1, 1, 1, 0, 0, 0]).to_kind(Kind::Bool).repeat([2, 1]);
    assert_near(run(Some(&mask), &SpanConfig::default()), 4_f64.ln(), 1e-14);
    // With a single position the probability is 1.
    let single_position = Tensor::zeros([1, 1], DOUBLE);
    let loss =
        span(&single_position, &single_position, &ids(&[0]), &ids(&[0]), None, &sum_config())
            .unwrap();
    assert_eq!(scalar(&loss), 0.0);
}

#[test]
fn rows_and_positions_without_loss_receive_exactly_zero() {
    let mut logits_with_nan = sines(3, 4, 0.417, 2.0);
    logits_with_nan.row_mut(1).fill(f64::NAN); // gold positions are outside the window
    logits_with_nan[[0, 3]] = f64::NAN; // padding
    let mut mask = Array2::from_elem((3, 4), true);
    mask[[0, 3]] = false;
    mask.row_mut(1).fill(false);
    let (x, y) = (leaf(&logits_with_nan), leaf(&logits_with_nan));
    let (mask, positions) = (mask_tensor(&mask), ids(&[1, 4, 2]));
    let loss = span(&x, &y, &positions, &positions, Some(&mask), &sum_config()).unwrap();
    check_zero_gradients(&loss, &[&x, &y], &[&[1], &[0, 3]]);
    for x in [x, y] {
        assert_all_nonzero(&x.grad().get(2));
    }
}

#[test]
fn missing_starts_or_ends_are_an_error_that_names_the_argument() {
    let x = Tensor::zeros([2, 4], FLOAT);
    let run = |s: &[i64], e: &[i64]| span(&x, &x, &ids(s), &ids(e), None, &SpanConfig::default());
    for (s, e, expected) in [
        ([4, -1], [4, 7], "start_positions"),
        ([4, 4], [0, 0], "start_positions"),
        ([0, 0], [4, 4], "end_positions"),
    ] {
        match run(&s, &e) {
            Err(Error::Empty { tensor, .. }) => assert_eq!(tensor, expected),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_gold_position_outside_the_mask_is_an_error_that_names_the_row() {
    let x = Tensor::zeros([3, 4], FLOAT);
    let mut mask = Array2::from_elem((3, 4), true);
    mask[[2, 1]] = false;
    let mask = mask_tensor(&mask);
    // Row 0 is dropped, so row 2 of the batch is row 1 of the remaining rows.
    let (s, e) = (ids(&[9, 0, 1]), ids(&[9, 3, 3]));
    let run =
        |s: &Tensor, e: &Tensor| error_message(span(&x, &x, s, e, Some(&mask), &sum_config()));
    assert_messages([
        (run(&s, &e), "start_positions[2] = 1: context_mask[2, 1] is false…"),
        (run(&e, &s), "end_positions[2] = 1…"),
    ]);
}

#[test]
fn invalid_arguments_are_reported() {
    let x = Tensor::zeros([2, 4], FLOAT);
    let p = ids(&[0, 3]);
    let default = SpanConfig::default();
    let logits = |x: &Tensor, y: &Tensor| error_message(span(x, y, &p, &p, None, &default));
    let positions = |s: &Tensor, e: &Tensor| error_message(span(&x, &x, s, e, None, &default));
    let masked = |mask: Tensor| error_message(span(&x, &x, &p, &p, Some(&mask), &default));
    let reject_config = SpanConfig { out_of_window: OutOfWindow::Reject, ..Default::default() };
    assert_messages([
        (logits(&x.view([8]), &x), "start_logits: expected shape [B, L], got [8]"),
        (logits(&x, &x.narrow(1, 0, 3)), "end_logits: expected shape [B, L] = [2, 4], got [2, 3]"),
        (logits(&x, &x.to_kind(Kind::Double)), "end_logits: expected dtype of start_logits…"),
        (logits(&x, &Tensor::new()), "end_logits…"),
        (positions(&ids(&[0]), &p), "start_positions…"),
        (positions(&p, &p.view([2, 1])), "end_positions…"),
        (masked(Tensor::ones([2, 4], INT64)), "context_mask: expected dtype Bool, got Int64…"),
        (masked(Tensor::ones([4], BOOL)), "context_mask…"),
        (
            error_message(span(&x, &x, &p, &ids(&[1, 4]), None, &reject_config)),
            "end_positions: every value must be in 0..4…from 1 to 4",
        ),
    ]);
    assert!(span(&x, &x, &p, &p, None, &reject_config).is_ok());
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let (starts, ends) = (sines(5, 384, 0.731, 6.0), sines(5, 384, 1.137, 6.0));
    let (s, e) = ([0, 383, 17, 5, 400], [3, 383, 17, 99, 400]);
    let naive = naive_loss(&starts, &s, None).unwrap() + naive_loss(&ends, &e, None).unwrap();
    let loss = |[x, y]: [&Tensor; 2]| span(x, y, &ids(&s), &ids(&e), None, &sum_config()).unwrap();
    // Rounding changes the start loss and the end loss by at most twice the rounding error of a
    // logit, 2 · 2^-9 · 6.
    LossCase { inputs: [&starts, &ends], loss: &loss, naive }.check_low_precision(0.048);
}

#[test]
fn an_empty_table_is_the_default_and_unknown_keys_are_rejected() {
    let expected = SpanConfig { out_of_window: OutOfWindow::Reject, ..sum_config() };
    check_config(
        [("reduction = \"sum\"\nout_of_window = \"reject\"", expected)],
        ["reduction = \"mean\""],
    );
}

/// Logits, mask and positions. Some positions are outside the window; the mask is true at every
/// gold position.
type Batch = (Array2<f64>, Array2<f64>, Array2<bool>, Vec<i64>, Vec<i64>);

fn batches() -> impl Strategy<Value = Batch> {
    (0usize..6, 0usize..7).prop_flat_map(|(b, l)| {
        let logits = move || matrix(-20.0..20.0, b, l);
        let positions = move || prop::collection::vec(-2..l as i64 + 3, b);
        let parts = (logits(), logits(), matrix(any::<bool>(), b, l), positions(), positions());
        parts.prop_map(move |(x, y, mut mask, s, e)| {
            for positions in [&s, &e] {
                for (row, &position) in positions.iter().enumerate() {
                    if (0..l as i64).contains(&position) {
                        mask[[row, position as usize]] = true;
                    }
                }
            }
            (x, y, mask, s, e)
        })
    })
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn agrees_with_the_loops((x, y, mask, s, e) in batches()) {
        for mask in [None, Some(&mask)] {
            let tensor_mask = mask.map(mask_tensor);
            let (x_logits, y_logits) = (tensor(&x), tensor(&y));
            let actual = span(&x_logits, &y_logits, &ids(&s), &ids(&e), tensor_mask.as_ref(), &sum_config());
            match (naive_loss(&x, &s, mask), naive_loss(&y, &e, mask)) {
                (Some(start), Some(end)) => assert_near(scalar(&actual.unwrap()), start + end, 1e-10),
                _ => prop_assert!(matches!(actual, Err(Error::Empty { .. })), "{:?}", actual),
            }
        }
    }
}
