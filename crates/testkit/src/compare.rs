//! Comparisons of tensors that report where they differ.
use std::fmt::Debug;

use ndarray::ArrayD;

/// Anything whose reference becomes an array of float64 values, such as `tch::Tensor`.
fn values<'a, T>(tensor: &'a T) -> ArrayD<f64>
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    tensor.try_into().unwrap_or_else(|error| panic!("cannot be read as float64: {error:?}"))
}

/// Returns the absolute difference of two elements: 0 for equal infinities, infinity if either is
/// NaN.
fn difference(got: f64, want: f64) -> f64 {
    let difference = if got == want { 0.0 } else { (got - want).abs() };
    if difference.is_nan() { f64::INFINITY } else { difference }
}

/// Returns the largest absolute difference in float64; infinity if the shapes differ or a value is
/// finite on one side only.
pub fn max_abs_error<'a, T>(got: &'a T, want: &'a T) -> f64
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    let (got, want) = (values(got), values(want));
    if got.shape() != want.shape() {
        return f64::INFINITY;
    }
    got.iter().zip(&want).map(|(&got, &want)| difference(got, want)).fold(0.0, f64::max)
}

/// Panics unless every element of `got` is within `tolerance` (absolute) of `want`. The message
/// lists the elements with the largest differences by their flat index.
#[track_caller]
pub fn assert_close<'a, T>(name: &str, got: &'a T, want: &'a T, tolerance: f64)
where
    &'a T: TryInto<ArrayD<f64>, Error: Debug>,
{
    let (got, want) = (values(got), values(want));
    assert_eq!(got.shape(), want.shape(), "{name}: shape differs (left got, right want)");
    let mut errors: Vec<(usize, f64, f64)> =
        got.iter().zip(&want).enumerate().map(|(at, (&got, &want))| (at, got, want)).collect();
    errors.sort_by(|a, b| difference(b.1, b.2).total_cmp(&difference(a.1, a.2)));
    let worst = errors.first().map_or(0.0, |&(_, got, want)| difference(got, want));
    if worst <= tolerance {
        return;
    }
    let rows: Vec<String> = errors
        .iter()
        .take(5)
        .map(|(at, got, want)| format!("  [{at}] got {got:e}, want {want:e}"))
        .collect();
    panic!(
        "{name}: off by {worst:e} where {tolerance:e} is allowed; worst elements:\n{}",
        rows.join("\n")
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr1;

    /// A substitute for a tensor; a reference to it can be converted to an array.
    struct Values(Vec<f64>);

    impl TryFrom<&Values> for ArrayD<f64> {
        type Error = String;

        fn try_from(values: &Values) -> Result<Self, String> {
            Ok(arr1(&values.0).into_dyn())
        }
    }

    fn of(values: &[f64]) -> Values {
        Values(values.to_vec())
    }

    #[test]
    fn the_error_is_the_largest_difference() {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        assert_eq!(max_abs_error(&of(&[1.0, 2.0]), &of(&[1.5, 2.25])), 0.5);
        assert_eq!(max_abs_error(&of(&[]), &of(&[])), 0.0);
        assert_eq!(max_abs_error(&of(&[inf, -inf]), &of(&[inf, -inf])), 0.0);
        for (got, want) in [(inf, -inf), (inf, 1.0), (nan, 1.0), (1.0, nan), (nan, nan)] {
            assert_eq!(max_abs_error(&of(&[got, 0.0]), &of(&[want, 0.0])), inf, "{got} {want}");
        }
        assert_eq!(max_abs_error(&of(&[1.0]), &of(&[1.0, 1.0])), inf);
    }

    #[test]
    fn equal_to_the_tolerance_is_close() {
        assert_close("same", &of(&[1.0, -2.0]), &of(&[1.0, -2.0]), 0.0);
        assert_close("near", &of(&[1.0]), &of(&[1.5]), 0.5);
    }

    #[test]
    #[should_panic(expected = "x: off by 3e0 where 1e0 is allowed; worst elements:\n  \
                               [1] got 5e0, want 2e0\n  [2] got 1e0, want 0e0")]
    fn the_worst_elements_come_first() {
        assert_close("x", &of(&[1.0, 5.0, 1.0]), &of(&[1.0, 2.0, 0.0]), 1.0);
    }

    #[test]
    #[should_panic(expected = "off by inf")]
    fn a_value_that_is_no_number_is_not_close() {
        assert_close("x", &of(&[f64::NAN]), &of(&[0.0]), 1e9);
    }
}
