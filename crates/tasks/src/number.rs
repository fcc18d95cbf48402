//! Conversion of counts and positions to the integer type of tensors.
use crate::{Error, Result};

/// Converts a count or position to libtorch's integer type.
pub(crate) fn to_i64(name: &str, value: usize) -> Result<i64> {
    i64::try_from(value).map_err(|_| Error::data(name, "at most 2^63 - 1", value))
}
