//! Dropout on the CPU. A token's dropout depends on the token's row in the batch and on its
//! position in that row.
use tch::{Kind, Tensor};

use crate::ffi::{self, make_tensor};
use crate::number::to_i64;
use crate::{Error, Result, first_row};

/// Returns the offsets of the tokens of a batch with `rows` rows of `length` tokens, as `[rows *
/// length]` i64 on the CPU.
///
/// An offset combines the token's row in the batch, counted from [`first_row`], and the token's
/// position in that row. The dropout mask at an offset does not depend on other rows or on padding.
///
/// # Errors
/// [`Error::Torch`](crate::Error::Torch) if libtorch returns an error.
///
/// # Example
/// ```
/// let offsets = torch_ext::token_offsets(2, 3)?;
/// let row = 1 << 32;
/// assert_eq!(Vec::<i64>::try_from(offsets).unwrap(), [0, 1, 2, row, row + 1, row + 2]);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn token_offsets(rows: i64, length: i64) -> Result<Tensor> {
    let first = to_i64(first_row());
    let row_offset = |row: i64| first.wrapping_add(row).wrapping_mul(1 << 32);
    let offsets: Vec<i64> =
        (0..rows).flat_map(|b| (0..length).map(move |k| row_offset(b).wrapping_add(k))).collect();
    Ok(Tensor::f_from_slice(&offsets)?)
}

/// Draws dropout factors for N rows of `width` elements: 0 with probability `p`, else 1 / (1 - p).
///
/// A factor is a function of a seed from libtorch's CPU generator, the row's entry of `offsets` and
/// the element's index in the row. Factors do not depend on the number of threads.
///
/// # Shapes
/// - `offsets`: `[N]` i64 on the CPU
/// - returns `[N, width]` float32
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) if `p` is outside `0..1`, or `offsets` does not have
/// the shape, dtype and device listed above.
///
/// # Example
/// ```
/// use torch_ext::{dropout_factors, token_offsets};
///
/// tch::manual_seed(1);
/// let all = dropout_factors(&token_offsets(4, 1)?, 8, 0.5)?;
/// tch::manual_seed(1);
/// let first = dropout_factors(&token_offsets(2, 1)?, 8, 0.5)?;
/// assert_eq!(all.narrow(0, 0, 2), first);
/// assert!(Vec::<f32>::try_from(all.view(-1)).unwrap().iter().all(|&x| x == 0.0 || x == 2.0));
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn dropout_factors(offsets: &Tensor, width: i64, p: f64) -> Result<Tensor> {
    // SAFETY: a live tensor; the shim checks its shape, dtype and device and, on success, returns a
    // tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_dropout_factors(offsets.as_ptr(), width, p, out, error)
    })
}

/// Draws [`dropout_factors`] in the shape and dtype of `x`, `[.., W]`. `offsets` has one entry per
/// vector of W elements.
///
/// # Errors
/// The errors of [`dropout_factors`].
pub fn dropout_factors_like(x: &Tensor, offsets: &Tensor, p: f64) -> Result<Tensor> {
    let Some(&width) = x.size().last() else {
        return Err(Error::Libtorch("expected x of shape [.., width], got a scalar".into()));
    };
    let factors = dropout_factors(offsets, width, p)?.f_view(x.size().as_slice())?;
    Ok(match x.f_kind()? {
        Kind::Float => factors,
        kind => factors.f_to_kind(kind)?,
    })
}
