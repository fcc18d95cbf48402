//! Tests of `uncertainty_weighting`: float64 loops, central differences and absent losses.
use crate::common::*;
use objectives::uncertainty_weighting;

/// Σ e^(-s) L + s over the losses that are present.
fn naive(losses: &[Option<f64>], log_variances: &[f64]) -> f64 {
    let mut total = 0.0;
    for (loss, log_variance) in losses.iter().zip(log_variances) {
        if let Some(loss) = loss {
            total += (-log_variance).exp() * loss + log_variance;
        }
    }
    total
}

fn run(losses: &[Option<f64>], log_variances: &Tensor) -> Result<Tensor, Error> {
    let losses: Vec<Option<Tensor>> = losses.iter().map(|loss| loss.map(Tensor::from)).collect();
    let losses: Vec<Option<&Tensor>> = losses.iter().map(Option::as_ref).collect();
    uncertainty_weighting(&losses, log_variances)
}

#[test]
fn the_best_log_variance_is_the_logarithm_of_the_loss() {
    let log_variances = Tensor::from_slice(&[3_f64.ln(), 0.5_f64.ln()]).set_requires_grad(true);
    let total = run(&[Some(3.0), Some(0.5)], &log_variances).unwrap();
    assert_near(scalar(&total), 2.0 + 1.5_f64.ln(), 1e-14);
    total.backward();
    assert!(max_abs(&log_variances.grad()) < 1e-14);
}

#[test]
fn gradients_equal_central_differences_and_weights() {
    let inputs = ndarray::array![[0.3, -1.2, 2.0]];
    let losses = [Some(1.7), Some(0.2), Some(4.0)];
    let total = run(&losses, &tensor(&inputs).view([3])).unwrap();
    // `CustomMultiLossLayer` of UMAEA's released code (zjukg/UMAEA at 83d7235c), torch 2.11.
    assert_near(scalar(&total), 3.5647554926526808, 1e-14);
    check_gradient(&inputs, |s| run(&losses, &s.view([3])).unwrap());
    // The gradient of a loss is its weight.
    let (first, second) = (Tensor::from(1.7_f64), Tensor::from(0.2_f64));
    let (first, second) = (first.set_requires_grad(true), second.set_requires_grad(true));
    let log_variances = Tensor::from_slice(&[0.3_f64, -1.2]);
    uncertainty_weighting(&[Some(&first), Some(&second)], &log_variances).unwrap().backward();
    assert_near(scalar(&first.grad()), (-0.3_f64).exp(), 1e-14);
    assert_near(scalar(&second.grad()), 1.2_f64.exp(), 1e-14);
}

#[test]
fn low_precision_is_summed_in_float32() {
    for kind in [Kind::BFloat16, Kind::Half] {
        let log_variances = Tensor::from_slice(&[0.5_f64, -0.25]).to_kind(kind);
        let loss = Tensor::from(2.0_f64).to_kind(kind);
        let total = uncertainty_weighting(&[Some(&loss), Some(&loss)], &log_variances).unwrap();
        assert_eq!(total.kind(), Kind::Float);
        assert_near(scalar(&total), naive(&[Some(2.0), Some(2.0)], &[0.5, -0.25]), 1e-6);
    }
}

#[test]
fn invalid_arguments_are_reported() {
    let log_variances = Tensor::zeros([2], DOUBLE);
    let run = |losses: &[Option<f64>]| error_message(run(losses, &log_variances));
    let (matrix, integer) = (Tensor::zeros([1], DOUBLE), Tensor::from(1_i64));
    let with =
        |loss: &Tensor| error_message(uncertainty_weighting(&[Some(loss), None], &log_variances));
    assert_messages([
        (run(&[None, None]), "losses: all losses are absent; skip this batch"),
        (run(&[Some(1.0)]), "log_variances: expected shape [K] = [1], got [2]"),
        (run(&[]), "log_variances: expected shape [K] = [0], got [2]"),
        (with(&matrix), "losses: expected shape [] = [], got [1]"),
        (with(&integer), "losses: expected dtype Float…"),
        (with(&Tensor::new()), "losses: the tensor is undefined…"),
    ]);
}

proptest! {
    #![proptest_config(with_cases(64))]
    #[test]
    fn any_losses_equal_the_loop_and_absent_ones_have_no_gradient(
        rows in prop::collection::vec((prop::option::of(0.0..50.0_f64), -6.0..6.0_f64), 1..6),
    ) {
        let losses: Vec<Option<f64>> = rows.iter().map(|row| row.0).collect();
        let values: Vec<f64> = rows.iter().map(|row| row.1).collect();
        let log_variances = Tensor::from_slice(&values).set_requires_grad(true);
        let total = run(&losses, &log_variances);
        if losses.iter().all(Option::is_none) {
            prop_assert!(total.is_err());
            return Ok(());
        }
        let total = total.unwrap();
        assert_near(scalar(&total), naive(&losses, &values), 1e-12);
        total.backward();
        let gradient = log_variances.grad();
        for (index, (loss, s)) in losses.iter().zip(&values).enumerate() {
            let actual = gradient.double_value(&[index as i64]);
            match loss {
                Some(loss) => assert_near(actual, 1.0 - (-s).exp() * loss, 1e-12),
                None => prop_assert_eq!(actual, 0.0),
            }
        }
    }
}
