//! Conversions between `usize` and the integer type of libtorch.

/// Converts a size, count or index to the integer type of libtorch.
///
/// ```
/// assert_eq!(torch_ext::to_i64(3), 3);
/// ```
///
/// # Panics
/// If the value exceeds 2⁶³ - 1, which exceeds the length of every slice.
#[track_caller]
pub fn to_i64(value: usize) -> i64 {
    i64::try_from(value).expect("a size, count or index is below 2^63")
}

/// Converts a size, count or index of libtorch, which is never negative.
///
/// ```
/// let shape = tch::Tensor::from_slice(&[0.5, 0.25]).size();
/// assert_eq!(torch_ext::to_usize(shape[0]), 2);
/// ```
///
/// # Panics
/// If the value is negative.
#[track_caller]
pub fn to_usize(value: i64) -> usize {
    usize::try_from(value)
        .unwrap_or_else(|_| panic!("a size, count or index is not negative, but got {value}"))
}
