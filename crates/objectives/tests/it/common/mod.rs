//! Helpers shared by the tests of losses. References are plain loops in float64 over `ndarray`,
//! without tensor operations.
mod contrast;
mod loss_case;
mod spans;

pub use contrast::ContrastBatch;
pub use loss_case::{LossCase, check_zero_gradients};
pub use ndarray::Array2;
pub use objectives::Error;
pub use objectives::tch::{Device, Kind, Tensor};
pub use proptest::prelude::*;
pub use spans::*;

use ndarray::ArrayView1;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

pub const DOUBLE: (Kind, Device) = (Kind::Double, Device::Cpu);
pub const FLOAT: (Kind, Device) = (Kind::Float, Device::Cpu);
pub const INT64: (Kind, Device) = (Kind::Int64, Device::Cpu);
pub const BOOL: (Kind, Device) = (Kind::Bool, Device::Cpu);

/// Float64 values without a regular pattern: `scale · sin(step · (k + 1))` for element k.
pub fn sines(rows: usize, columns: usize, step: f64, scale: f64) -> Array2<f64> {
    Array2::from_shape_fn((rows, columns), |(r, c)| {
        scale * (step * (r * columns + c + 1) as f64).sin()
    })
}

/// Converts an array to a float64 tensor.
pub fn tensor(array: &Array2<f64>) -> Tensor {
    let (rows, columns) = array.dim();
    let values: Vec<f64> = array.iter().copied().collect();
    Tensor::from_slice(&values).view([rows as i64, columns as i64])
}

/// Converts an array to a float64 leaf that requires gradient.
pub fn leaf(array: &Array2<f64>) -> Tensor {
    tensor(array).set_requires_grad(true)
}

/// A matrix whose elements are drawn independently.
pub fn matrix<T: Debug>(
    element: impl Strategy<Value = T>,
    rows: usize,
    columns: usize,
) -> impl Strategy<Value = Array2<T>> {
    prop::collection::vec(element, rows * columns)
        .prop_map(move |values| Array2::from_shape_vec((rows, columns), values).unwrap())
}

/// Configuration of a property test with `cases` cases; failing cases are printed but not stored.
pub fn with_cases(cases: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) }
}

pub fn ids(values: &[i64]) -> Tensor {
    Tensor::from_slice(values)
}

pub fn scalar(loss: &Tensor) -> f64 {
    assert_eq!(loss.size(), Vec::<i64>::new(), "a loss has no dimension");
    loss.double_value(&[])
}

/// `-ln softmax(row)[target]` over the candidates where `allowed` is true.
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

/// Asserts `|actual - expected| ≤ tolerance · max(1, |expected|)`.
#[track_caller]
pub fn assert_near(actual: f64, expected: f64, tolerance: f64) {
    let error = (actual - expected).abs() / expected.abs().max(1.0);
    assert!(error <= tolerance, "got {actual:e}, expected {expected:e}, relative error {error:e}");
}

/// Compares autograd's gradient with float64 central differences of step 1e-5.
#[track_caller]
pub fn check_gradient(input: &Array2<f64>, loss: impl Fn(&Tensor) -> Tensor) {
    let x = leaf(input);
    loss(&x).backward();
    let numeric = Array2::from_shape_fn(input.dim(), |index| {
        let shifted = |step: f64| {
            let mut shifted = input.clone();
            shifted[index] += step;
            scalar(&loss(&tensor(&shifted)))
        };
        (shifted(1e-5) - shifted(-1e-5)) / 2e-5
    });
    testkit::assert_close("gradient", &x.grad(), &tensor(&numeric), 1e-8);
}

/// Asserts that every element of a row of a gradient is exactly 0.
#[track_caller]
pub fn assert_zero_row(grad: &Tensor, index: &[i64]) {
    let mut row = grad.shallow_clone();
    for &i in index {
        row = row.get(i);
    }
    let nonzero = row.ne(0.0).sum(Kind::Int64).int64_value(&[]);
    assert_eq!(nonzero, 0, "the gradient at {index:?} is not exactly 0");
}

/// Asserts that no element is 0.
#[track_caller]
pub fn assert_all_nonzero(tensor: &Tensor) {
    assert_eq!(tensor.ne(0.0).all().int64_value(&[]), 1, "an element is 0");
}

#[track_caller]
pub fn assert_finite(tensor: &Tensor) {
    assert_eq!(tensor.isfinite().all().int64_value(&[]), 1, "an element is not finite");
}

/// The maximum absolute value.
pub fn max_abs(tensor: &Tensor) -> f64 {
    tensor.abs().max().double_value(&[])
}

/// Asserts that the result is an error, and returns its message.
#[track_caller]
pub fn error_message<T: Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

/// Asserts that each message matches its pattern, in which `…` matches any text.
#[track_caller]
pub fn assert_messages<const N: usize>(rows: [(String, &str); N]) {
    for (message, pattern) in rows {
        assert!(matches_pattern(&message, pattern), "{message:?} does not match {pattern:?}");
    }
}

fn matches_pattern(text: &str, pattern: &str) -> bool {
    let Some((prefix, suffix)) = pattern.split_once('…') else { return text == pattern };
    text.strip_prefix(prefix).is_some_and(|text| {
        (0..=text.len())
            .any(|start| text.get(start..).is_some_and(|text| matches_pattern(text, suffix)))
    })
}

/// Asserts that an empty TOML text parses to the default config, that each text of `valid` parses
/// to its config, and that each text of `invalid` (with unknown keys or values) is an error.
#[track_caller]
pub fn check_config<C, const N: usize, const M: usize>(valid: [(&str, C); N], invalid: [&str; M])
where
    C: DeserializeOwned + Default + Debug + PartialEq,
{
    assert_eq!(toml::from_str::<C>("").unwrap(), C::default());
    for (text, config) in valid {
        assert_eq!(toml::from_str::<C>(text).unwrap(), config);
    }
    for text in invalid {
        assert!(toml::from_str::<C>(text).is_err(), "{text}");
    }
}
