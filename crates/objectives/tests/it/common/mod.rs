//! The references of these tests: plain loops in float64 over `ndarray`, no tensor operation in
//! them.
use ndarray::{Array2, ArrayView1};
use objectives::LossError;
use objectives::tch::{Kind, Tensor};
use proptest::prelude::ProptestConfig;

/// Float64 logits without pattern: `scale · sin(step · (k + 1))`.
pub fn ramp(rows: usize, columns: usize, step: f64, scale: f64) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(r, c)| {
        scale * (step * (r * columns + c + 1) as f64).sin()
    })
}

/// The same numbers as a float64 tensor.
pub fn tensor(array: &Array2<f64>) -> Tensor {
    let (rows, columns) = array.dim();
    let values: Vec<f64> = array.iter().copied().collect();
    Tensor::from_slice(&values).view([rows as i64, columns as i64])
}

/// The same numbers as a float64 leaf that asks for its gradient.
pub fn leaf(array: &Array2<f64>) -> Tensor {
    tensor(array).set_requires_grad(true)
}

/// So many draws of a property; a failing one is printed and not kept.
pub fn draws(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

pub fn ids(values: &[i64]) -> Tensor {
    Tensor::from_slice(values)
}

pub fn scalar(loss: &Tensor) -> f64 {
    assert_eq!(loss.size(), Vec::<i64>::new(), "a loss has no dimension");
    loss.double_value(&[])
}

/// `-ln softmax(row)[target]` where `allowed` holds; every other candidate leaves the softmax.
pub fn naive_nll(row: ArrayView1<f64>, target: usize, allowed: impl Fn(usize) -> bool) -> f64 {
    let mut largest = f64::NEG_INFINITY;
    for (c, &value) in row.iter().enumerate() {
        if allowed(c) && value > largest {
            largest = value;
        }
    }
    let mut total = 0.0;
    for (c, &value) in row.iter().enumerate() {
        if allowed(c) {
            total += (value - largest).exp();
        }
    }
    largest + total.ln() - row[target]
}

/// `|got - want| ≤ tolerance · max(1, |want|)`.
#[track_caller]
pub fn assert_near(got: f64, want: f64, tolerance: f64) {
    let error = (got - want).abs() / want.abs().max(1.0);
    assert!(error <= tolerance, "got {got:e}, want {want:e}, relative error {error:e}");
}

/// Compares autograd's gradient with central differences, step 1e-5, in float64.
#[track_caller]
pub fn check_gradient(at: &Array2<f64>, loss: impl Fn(&Tensor) -> Tensor) {
    let x = leaf(at);
    loss(&x).backward();
    let numeric = Array2::from_shape_fn(at.dim(), |index| {
        let moved = |step: f64| {
            let mut moved = at.clone();
            moved[index] += step;
            scalar(&loss(&tensor(&moved)))
        };
        (moved(1e-5) - moved(-1e-5)) / 2e-5
    });
    testkit::assert_close("gradient", &x.grad(), &tensor(&numeric), 1e-8);
}

/// Asserts that every entry of a gradient's row is 0, not merely small.
#[track_caller]
pub fn assert_zero_row(grad: &Tensor, index: &[i64]) {
    let mut row = grad.shallow_clone();
    for &i in index {
        row = row.get(i);
    }
    let nonzero = row.ne(0.0).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(nonzero, 0, "the gradient at {index:?} is not exactly 0");
}

/// The message of a refusal, after checking that it is one.
#[track_caller]
pub fn refusal(result: Result<Tensor, LossError>) -> String {
    match result {
        Ok(loss) => panic!("expected an error, got the loss {}", scalar(&loss)),
        Err(error) => error.to_string(),
    }
}
