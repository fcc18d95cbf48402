//! Comparisons of tensors that report the differing elements.
use std::fmt::Debug;

use ndarray::ArrayD;

/// Converts a tensor, such as `tch::Tensor`, to an array of float64 values.
fn to_float64<'a, T>(tensor: &'a T) -> ArrayD<f64>
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    tensor.try_into().unwrap_or_else(|error| panic!("cannot be converted to float64: {error:?}"))
}

/// Returns the absolute difference of two elements: 0 for equal infinities, infinity if either is
/// NaN.
fn absolute_difference(got: f64, want: f64) -> f64 {
    let difference = if got == want { 0.0 } else { (got - want).abs() };
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// Returns the largest absolute difference of corresponding elements, in float64. The result is
/// infinite if the shapes differ, an element is NaN, or an infinite element differs from the other
/// element.
pub fn max_abs_error<'a, T>(got: &'a T, want: &'a T) -> f64
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    let (got, want) = (to_float64(got), to_float64(want));
    if got.shape() != want.shape() {
        return f64::INFINITY;
    }
    got.iter().zip(&want).map(|(&got, &want)| absolute_difference(got, want)).fold(0.0, f64::max)
}

/// Panics if the absolute difference of corresponding elements of `got` and `want` exceeds
/// `tolerance`. The message lists the elements with the largest differences, each with its flat
/// index.
#[track_caller]
pub fn assert_close<'a, T>(name: &str, got: &'a T, want: &'a T, tolerance: f64)
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    let (got, want) = (to_float64(got), to_float64(want));
    assert_eq!(got.shape(), want.shape(), "{name}: shape differs (left got, right want)");
    let mut elements: Vec<(usize, f64, f64)> = got
        .iter()
        .zip(&want)
        .enumerate()
        .map(|(index, (&got, &want))| (index, got, want))
        .collect();
    elements
        .sort_by(|a, b| absolute_difference(b.1, b.2).total_cmp(&absolute_difference(a.1, a.2)));
    let max_difference =
        elements.first().map_or(0.0, |&(_, got, want)| absolute_difference(got, want));
    if max_difference <= tolerance {
        return;
    }
    let lines: Vec<String> = elements
        .iter()
        .take(5)
        .map(|(index, got, want)| format!("  [{index}] got {got:e}, want {want:e}"))
        .collect();
    panic!(
        "{name}: off by {max_difference:e} where {tolerance:e} is allowed; worst elements:\n{}",
        lines.join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    /// A stand-in for a tensor. A reference to it can be converted to an array.
    struct TestTensor(Vec<f64>);

    impl TryFrom<&TestTensor> for ArrayD<f64> {
        type Error = String;

        fn try_from(values: &TestTensor) -> Result<Self, String> {
            Ok(arr1(&values.0).into_dyn())
        }
    }

    fn tensor(values: &[f64]) -> TestTensor {
        TestTensor(values.to_vec())
    }

    #[test]
    fn the_error_is_the_largest_difference() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(max_abs_error(&tensor(&[1.0, 2.0]), &tensor(&[1.5, 2.25])), 0.5);
        assert_eq!(max_abs_error(&tensor(&[]), &tensor(&[])), 0.0);
        assert_eq!(max_abs_error(&tensor(&[inf, -inf]), &tensor(&[inf, -inf])), 0.0);
        for (got, want) in [(inf, -inf), (inf, 1.0), (nan, 1.0), (1.0, nan), (nan, nan)] {
            assert_eq!(
                max_abs_error(&tensor(&[got, 0.0]), &tensor(&[want, 0.0])),
                inf,
                "{got} {want}"
            );
        }
        assert_eq!(max_abs_error(&tensor(&[1.0]), &tensor(&[1.0, 1.0])), inf);
    }

    #[test]
    fn a_difference_equal_to_the_tolerance_is_accepted() {
        assert_close("same", &tensor(&[1.0, -2.0]), &tensor(&[1.0, -2.0]), 0.0);
        assert_close("near", &tensor(&[1.0]), &tensor(&[1.5]), 0.5);
    }

    #[test]
    #[should_panic(expected = "x: off by 3e0 where 1e0 is allowed; worst elements:\n  \
                               [1] got 5e0, want 2e0\n  [2] got 1e0, want 0e0")]
    fn the_worst_elements_come_first() {
        assert_close("x", &tensor(&[1.0, 5.0, 1.0]), &tensor(&[1.0, 2.0, 0.0]), 1.0);
    }

    #[test]
    #[should_panic(expected = "off by inf")]
    fn nan_is_never_close() {
        assert_close("x", &tensor(&[f64::NAN]), &tensor(&[0.0]), 1e9);
    }
}
