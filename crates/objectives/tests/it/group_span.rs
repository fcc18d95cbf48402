//! Tests of `group_span`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{Error, GroupNormalization, GroupSpanConfig, SpanReduction, group_span};

fn sum_config() -> GroupSpanConfig {
    GroupSpanConfig { reduction: SpanReduction::Sum, ..Default::default() }
}

fn sigmoid_config() -> GroupSpanConfig {
    GroupSpanConfig { normalization: GroupNormalization::Sigmoid, ..sum_config() }
}

#[test]
fn equals_the_loops_and_its_gradients_equal_central_differences() {
    let (starts, ends) = (sines(6, 5, 0.731, 3.0), sines(6, 5, 1.137, 3.0));
    // Group 0 has a gold position in two of three windows, group 3 only a gold end; group 7 is one
    // window.
    let (groups, s, e) = ([0, 0, 0, 3, 3, 7], [1, 4, -1, 5, -1, 0], [2, 4, 9, 3, -1, 2]);
    let mut mask = Array2::from_elem((6, 5), true);
    for index in [[0, 0], [0, 4], [2, 1], [4, 0]] {
        mask[index] = false;
    }
    for (mask, config) in
        [(None, sum_config()), (Some(&mask), sum_config()), (Some(&mask), sigmoid_config())]
    {
        let tensor_mask = mask.map(mask_tensor);
        let loss = |[x, y]: [&Tensor; 2]| {
            group_span(x, y, &ids(&groups), &ids(&s), &ids(&e), tensor_mask.as_ref(), &config)
                .unwrap()
        };
        let naive =
            |x, p: &[i64]| naive_group_loss(x, &groups, p, mask, config.normalization).unwrap();
        let naive = naive(&starts, &s) + naive(&ends, &e);
        LossCase { inputs: [&starts, &ends], loss: &loss, naive }.check(1e-12);
    }
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let (starts, ends) = (sines(4, 384, 0.731, 6.0), sines(4, 384, 1.137, 6.0));
    let (groups, s, e) = ([0, 0, 1, 1], [0, -1, 383, 17], [3, -1, 383, 17]);
    let naive =
        |x, p: &[i64]| naive_group_loss(x, &groups, p, None, GroupNormalization::Shared).unwrap();
    let loss = |[x, y]: [&Tensor; 2]| {
        group_span(x, y, &ids(&groups), &ids(&s), &ids(&e), None, &sum_config()).unwrap()
    };
    // Rounding changes the start loss and the end loss by at most twice the rounding error of a
    // logit, 2 · 2^-9 · 6.
    LossCase {
        inputs: [&starts, &ends],
        loss: &loss,
        naive: naive(&starts, &s) + naive(&ends, &e),
    }
    .check_low_precision(0.048);
}

#[test]
fn hand_computed_values_are_returned() {
    let zeros = Tensor::zeros([3, 4], DOUBLE);
    let run = |groups: &[i64], positions: &[i64], config: &GroupSpanConfig| {
        let p = ids(positions);
        scalar(&group_span(&zeros, &zeros, &ids(groups), &p, &p, None, config).unwrap())
    };
    // One of 12 positions is gold in the first batch, and two of 12 in the second batch.
    assert_near(run(&[0, 0, 0], &[1, -1, -1], &Default::default()), 12_f64.ln(), 1e-14);
    assert_near(run(&[0, 0, 0], &[1, -1, 3], &Default::default()), 6_f64.ln(), 1e-14);
    // For groups of one and two windows, the start and end loss are each the mean of ln 4 and ln 8.
    assert_near(run(&[2, 5, 5], &[0, -1, 3], &sum_config()), 4_f64.ln() + 8_f64.ln(), 1e-14);
    // Start and end have twelve probabilities of 1/2 each.
    assert_near(run(&[0, 0, 0], &[1, -1, -1], &sigmoid_config()), 24.0 * 2_f64.ln(), 1e-14);
}

#[test]
fn positions_without_loss_receive_exactly_zero() {
    let mut logits_with_nan = sines(5, 4, 0.417, 2.0);
    logits_with_nan.row_mut(2).fill(f64::NAN); // group 1 has no gold position
    logits_with_nan[[0, 3]] = f64::NAN; // padding
    let mut mask = Array2::from_elem((5, 4), true);
    mask[[0, 3]] = false;
    mask.row_mut(4).fill(false); // a fully masked window
    let (mask, positions, groups) =
        (mask_tensor(&mask), ids(&[1, -1, -1, 2, 4]), ids(&[0, 0, 1, 2, 2]));
    for config in [sum_config(), sigmoid_config()] {
        let start = leaf(&logits_with_nan);
        let end = leaf(&logits_with_nan);
        let loss = group_span(&start, &end, &groups, &positions, &positions, Some(&mask), &config)
            .unwrap();
        check_zero_gradients(&loss, &[&start, &end], &[&[2], &[0, 3], &[4]]);
        for logits in [start, end] {
            assert_all_nonzero(&logits.grad().get(1));
            assert_all_nonzero(&logits.grad().get(3));
        }
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let x = Tensor::zeros([2, 4], FLOAT);
    let run = |groups: &[i64], s: &[i64], e: &[i64], mask: Option<&Tensor>| {
        error_message(group_span(&x, &x, &ids(groups), &ids(s), &ids(e), mask, &sum_config()))
    };
    let mut mask = Array2::from_elem((2, 4), true);
    mask[[1, 2]] = false;
    let mask = mask_tensor(&mask);
    assert_messages([
        (run(&[1, 0], &[0, 0], &[0, 0], None), "groups: every value must be at least as large…"),
        (run(&[0], &[0, 0], &[0, 0], None), "groups: expected shape [W] = [2], got [1]"),
        (run(&[0, 0], &[0], &[0, 0], None), "start_positions…"),
        (run(&[0, 0], &[4, -1], &[0, 0], None), "start_positions: no group has a window…"),
        (run(&[0, 0], &[0, 0], &[-1, -1], None), "end_positions: no group has a window…"),
        (run(&[0, 1], &[-1, 2], &[0, 0], Some(&mask)), "start_positions[1] = 2: context_mask…"),
    ]);
}

#[test]
fn an_empty_table_is_the_default_and_unknown_keys_are_rejected() {
    check_config(
        [("reduction = \"sum\"\nnormalization = \"sigmoid\"", sigmoid_config())],
        ["normalization = \"merge\"", "out_of_window = \"reject\""],
    );
}

/// Logits, mask, groups and positions; the mask is true at every gold position.
type Batch = (Array2<f64>, Array2<f64>, Array2<bool>, Vec<i64>, Vec<i64>, Vec<i64>);

fn batches() -> impl Strategy<Value = Batch> {
    (0usize..8, 0usize..6).prop_flat_map(|(w, l)| {
        let logits = move || matrix(-20.0..20.0, w, l);
        let positions = move || prop::collection::vec(-3..l as i64, w);
        let groups = prop::collection::vec(0..4_i64, w).prop_map(|mut groups| {
            groups.sort_unstable();
            groups
        });
        let mask = matrix(any::<bool>(), w, l);
        (logits(), logits(), mask, groups, positions(), positions()).prop_map(
            |(x, y, mut mask, groups, s, e)| {
                for positions in [&s, &e] {
                    for (w, &position) in positions.iter().enumerate().filter(|(_, p)| **p >= 0) {
                        mask[[w, position as usize]] = true;
                    }
                }
                (x, y, mask, groups, s, e)
            },
        )
    })
}

proptest! {
    #![proptest_config(with_cases(128))]

    #[test]
    fn agrees_with_the_loops((x, y, mask, groups, s, e) in batches()) {
        for config in [sum_config(), sigmoid_config()] {
            let actual = group_span(
                &tensor(&x), &tensor(&y), &ids(&groups), &ids(&s), &ids(&e),
                Some(&mask_tensor(&mask)), &config,
            );
            let naive = |x, p: &[i64]| naive_group_loss(x, &groups, p, Some(&mask), config.normalization);
            match (naive(&x, &s), naive(&y, &e)) {
                (Some(start), Some(end)) => assert_near(scalar(&actual.unwrap()), start + end, 1e-10),
                _ => prop_assert!(matches!(actual, Err(Error::Empty { .. })), "{:?}", actual),
            }
        }
    }
}
