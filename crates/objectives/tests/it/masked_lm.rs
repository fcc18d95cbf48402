//! Tests of `masked_lm`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::{Array2, Axis};
use objectives::{Error, MaskedLmConfig, MaskedLmReduction, masked_lm};

const REDUCTIONS: [MaskedLmReduction; 2] = [MaskedLmReduction::Mean, MaskedLmReduction::Sum];

/// Eq. 1 with a minus sign, computed with loops.
fn naive_loss(logits: &Array2<f64>, targets: &[i64], config: &MaskedLmConfig) -> f64 {
    let mut sum = 0.0;
    for (i, row) in logits.axis_iter(Axis(0)).enumerate() {
        sum += naive_nll(row, targets[i] as usize, |_| true);
    }
    match config.reduction {
        MaskedLmReduction::Sum => sum,
        MaskedLmReduction::Mean => sum / targets.len() as f64,
    }
}

#[test]
fn equals_the_loops_and_its_gradient_equals_central_differences() {
    let (logits, targets) = (sines(5, 7, 0.731, 4.0), [3, 0, 6, 3, 2]);
    for reduction in REDUCTIONS {
        let config = MaskedLmConfig { reduction };
        let loss = |[x]: [&Tensor; 1]| masked_lm(x, &ids(&targets), &config).unwrap();
        let naive = naive_loss(&logits, &targets, &config);
        LossCase { inputs: [&logits], loss: &loss, naive }.check(1e-12);
    }
}

#[test]
fn hand_computed_values_are_returned() {
    let default = MaskedLmConfig::default();
    // Uniform predictions have the loss ln V for every target.
    let zeros = Tensor::zeros([3, 5], DOUBLE);
    assert_near(scalar(&masked_lm(&zeros, &ids(&[0, 4, 2]), &default).unwrap()), 5_f64.ln(), 1e-14);
    // Odds 1 : 3 give probabilities 1/4 and 3/4.
    let logits = ndarray::array![[0.0, 3_f64.ln()], [0.0, 3_f64.ln()]];
    let loss = masked_lm(&tensor(&logits), &ids(&[0, 1]), &default).unwrap();
    assert_near(scalar(&loss), (4_f64.ln() + (4.0 / 3_f64).ln()) / 2.0, 1e-14);
    // Large logits do not overflow.
    let logits = ndarray::array![[1e4, -1e4, 0.0], [-3e4, -3e4, -3e4]];
    let loss = masked_lm(&tensor(&logits), &ids(&[1, 0]), &default).unwrap();
    assert_near(scalar(&loss), (2e4 + 3_f64.ln()) / 2.0, 1e-12);
    // With one candidate the probability is 1 and the gradient is 0.
    let single_logit = leaf(&ndarray::array![[3.0]]);
    let loss = masked_lm(&single_logit, &ids(&[0]), &default).unwrap();
    loss.backward();
    assert_eq!((scalar(&loss), single_logit.grad().double_value(&[0, 0])), (0.0, 0.0));
}

#[test]
fn low_precision_logits_are_reduced_in_float32() {
    let logits = sines(40, 300, 0.417, 6.0);
    let targets: Vec<i64> = (0..40).map(|i| (i * 7) % 300).collect();
    let default = MaskedLmConfig::default();
    let loss = |[x]: [&Tensor; 1]| masked_lm(x, &ids(&targets), &default).unwrap();
    let naive = naive_loss(&logits, &targets, &default);
    // Rounding the logits changes the loss by at most twice their rounding error, 2 · 2^-9 · 6.
    LossCase { inputs: [&logits], loss: &loss, naive }.check_low_precision(0.024);
}

#[test]
fn invalid_arguments_are_reported() {
    let logits = Tensor::zeros([2, 4], FLOAT);
    let default = MaskedLmConfig::default();
    let error_of =
        |logits: &Tensor, targets: &Tensor| error_message(masked_lm(logits, targets, &default));
    let valid_targets = ids(&[1, 1]);
    assert_messages([
        (
            error_of(&logits, &ids(&[1, 4])),
            "targets: every value must be in 0..4 (V of the logits); masked_positions drops \
             positions labelled -100; got values from 1 to 4",
        ),
        (error_of(&logits, &ids(&[-100, 3])), "…from -100 to 3…"),
        (error_of(&logits, &ids(&[1])), "targets: expected shape [N] = [2], got [1]"),
        (error_of(&logits.view([2, 2, 2]), &valid_targets), "logits: expected shape…"),
        (error_of(&logits, &valid_targets.to_kind(Kind::Int)), "…Int64, got Int…"),
        (error_of(&logits.to_kind(Kind::Int64), &valid_targets), "…got Int64…"),
        (error_of(&Tensor::new(), &valid_targets), "…undefined…"),
        (error_of(&logits, &Tensor::new()), "…undefined…"),
        // An empty vocabulary: no target is in 0..0.
        (error_of(&logits.narrow(1, 0, 0), &ids(&[0, 0])), "…in 0..0…"),
    ]);
    let empty = masked_lm(&logits.narrow(0, 0, 0), &ids(&[]), &default);
    assert!(matches!(empty, Err(Error::Empty { tensor: "targets", .. })));
}

/// N rows of V logits, each with a target; includes equal rows and equal targets.
fn batches() -> impl Strategy<Value = (Array2<f64>, Vec<i64>)> {
    (1usize..6, 1usize..8).prop_flat_map(|(n, v)| {
        let logits = matrix(prop_oneof![Just(0.0), -20.0..20.0], n, v);
        (logits, prop::collection::vec(0..v as i64, n))
    })
}

proptest! {
    #![proptest_config(with_cases(96))]

    #[test]
    fn agrees_with_the_loops((logits, targets) in batches()) {
        for reduction in REDUCTIONS {
            let config = MaskedLmConfig { reduction };
            let loss = masked_lm(&tensor(&logits), &ids(&targets), &config).unwrap();
            assert_near(scalar(&loss), naive_loss(&logits, &targets, &config), 1e-10);
        }
    }
}
