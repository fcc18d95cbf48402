//! Tests of `cosine_regression`: float64 loops, central differences and hand-computed values.
use crate::common::*;
use ndarray::Array2;
use objectives::{Error, cosine_regression};

fn naive_loss(first: &Array2<f64>, second: &Array2<f64>, similarities: &[f64]) -> f64 {
    let mut total = 0.0;
    for ((u, v), s) in first.rows().into_iter().zip(second.rows()).zip(similarities) {
        let (mut product, mut norm_u, mut norm_v) = (0.0, 0.0, 0.0);
        for (x, y) in u.iter().zip(&v) {
            product += x * y;
            norm_u += x * x;
            norm_v += y * y;
        }
        total += (product / (norm_u.sqrt() * norm_v.sqrt()) - s).powi(2);
    }
    total / similarities.len() as f64
}

#[test]
fn loss_equals_loops_and_gradients_equal_central_differences() {
    let (first, second) = (sines(5, 7, 0.731, 3.0), sines(5, 7, 1.137, 0.2));
    let similarities = [1.0, 0.0, 0.35, -0.5, 0.8];
    let naive = naive_loss(&first, &second, &similarities);
    let target_similarities = Tensor::from_slice(&similarities);
    let loss = |[u, v]: [&Tensor; 2]| cosine_regression(u, v, &target_similarities).unwrap();
    let case = LossCase { inputs: [&first, &second], loss: &loss, naive };
    case.check(1e-12);
    case.check_low_precision(0.02);
}

#[test]
fn equal_and_opposite_vectors_have_the_extreme_cosines() {
    let vectors = tensor(&sines(3, 4, 0.9, 2.0));
    let ones = Tensor::ones([3], DOUBLE);
    let loss = |second: &Tensor, similarities: &Tensor| {
        scalar(&cosine_regression(&vectors, second, similarities).unwrap())
    };
    assert_near(loss(&(&vectors * 5.0), &ones), 0.0, 1e-14);
    assert_near(loss(&vectors.neg(), &ones), 4.0, 1e-14);
    assert_near(loss(&vectors.zeros_like(), &(ones * 0.5)), 0.25, 1e-14);
}

#[test]
fn similarities_receive_no_gradient_and_zero_vectors_a_finite_gradient() {
    let first = tensor(&sines(2, 3, 0.4, 1.0)).set_requires_grad(true);
    let second = Tensor::zeros([2, 3], DOUBLE).set_requires_grad(true);
    let similarities = Tensor::from_slice(&[1.0, 0.0]).set_requires_grad(true);
    cosine_regression(&first, &second, &similarities).unwrap().backward();
    assert!(!similarities.grad().defined());
    for leaf in [&first, &second] {
        assert!(leaf.grad().isfinite().all().int64_value(&[]) == 1);
    }
}

#[test]
fn invalid_tensors_are_reported() {
    let vectors = |rows, columns| Tensor::zeros([rows, columns], FLOAT);
    let [three_rows, two_rows] = [3, 2].map(|rows| Tensor::zeros([rows], FLOAT));
    let error_of = |first: &Tensor, second: &Tensor, similarities: &Tensor| {
        cosine_regression(first, second, similarities).unwrap_err()
    };
    let error = error_of(&vectors(3, 4), &vectors(3, 5), &three_rows);
    assert!(matches!(error, Error::Shape { tensor: "second", .. }), "{error}");
    let error = error_of(&vectors(3, 4), &vectors(3, 4), &two_rows);
    assert!(matches!(error, Error::Shape { tensor: "similarities", .. }), "{error}");
    let error = error_of(&vectors(3, 4), &vectors(3, 4), &three_rows.to_kind(Kind::Int64));
    assert!(matches!(error, Error::Dtype { tensor: "similarities", .. }), "{error}");
    let error = error_of(&vectors(0, 4), &vectors(0, 4), &Tensor::zeros([0], FLOAT));
    assert!(matches!(error, Error::Empty { tensor: "first", .. }), "{error}");
}

proptest! {
    #![proptest_config(with_cases(40))]

    /// The loss does not depend on the norms of the vectors or on their order.
    #[test]
    fn scaling_does_not_change_the_loss(
        first in matrix(-2.0..2.0_f64, 4, 3),
        second in matrix(-2.0..2.0_f64, 4, 3),
        similarities in prop::collection::vec(-1.0..1.0_f64, 4),
        scale in 0.1..10.0_f64,
    ) {
        let min_norm = |array: &Array2<f64>| {
            array.rows().into_iter().map(|row| row.dot(&row).sqrt()).fold(f64::INFINITY, f64::min)
        };
        prop_assume!(min_norm(&first) > 0.1 && min_norm(&second) > 0.1);
        let target_similarities = Tensor::from_slice(&similarities);
        let loss = |first: &Tensor, second: &Tensor| {
            scalar(&cosine_regression(first, second, &target_similarities).unwrap())
        };
        let expected = naive_loss(&first, &second, &similarities);
        let (first, second) = (tensor(&first), tensor(&second));
        assert_near(loss(&first, &second), expected, 1e-12);
        assert_near(loss(&second, &first), expected, 1e-12);
        assert_near(loss(&(&first * scale), &second), expected, 1e-12);
    }
}
