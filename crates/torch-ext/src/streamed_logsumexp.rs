//! The log-sum-exp of query-key products over many keys, a block of keys at a time.
use tch::Tensor;

use crate::Result;
use crate::ffi::{self, make, raw_or_null};

/// The keys of [`streamed_logsumexp`] and how they are read.
#[derive(Clone, Copy, Debug)]
pub struct KeyBlocks<'a> {
    /// `[M, D]`.
    pub key: &'a Tensor,
    /// `[R]` and `[M]` i64: a query and a key of the same group are not compared.
    pub groups: Option<(&'a Tensor, &'a Tensor)>,
    /// Whether negative numbers are groups too; else they are none.
    pub negative_groups: bool,
    /// `[R]` float, of no gradient: subtracted from each similarity, so that a log-sum-exp near it
    /// keeps its digits. `None`: 0.
    pub offset: Option<&'a Tensor>,
    /// Divides each key by the larger of its L2 norm and this; only for keys that require no
    /// gradient.
    pub normalise_eps: Option<f64>,
    /// Keys whose products exist at once, at least 1.
    pub block: i64,
}

/// `ln Σₘ exp(query · key[m] / temperature − offset)` for each query, over the keys of other
/// groups; -∞ where there are none.
///
/// A custom autograd function with running maxima. The gradient of `query` is made in the forward
/// pass, from the products that exist anyway; that of `key`, if it requires one, makes them a
/// second time. Beside vectors of the size of `query` only `[R, block]` products are held. There is
/// no second derivative: asking for one is an error.
///
/// # Shapes
/// - `query`: `[R, D]` float; receives gradient
/// - `keys.key`: `[M, D]` float; receives gradient if it requires it
/// - returns `[R]`: float64 for float64 queries, else float32 (products and sums run in it)
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) for shapes or dtypes that do not fit.
///
/// # Example
/// ```
/// use tch::{Device, Kind, Tensor};
/// use torch_ext::{KeyBlocks, streamed_logsumexp};
///
/// let query = Tensor::zeros([2, 4], (Kind::Float, Device::Cpu));
/// let key = Tensor::ones([1000, 4], (Kind::Float, Device::Cpu));
/// let keys = KeyBlocks {
///     key: &key,
///     groups: None,
///     negative_groups: false,
///     offset: None,
///     normalise_eps: None,
///     block: 64,
/// };
/// let lse = streamed_logsumexp(&query, &keys, 1.0)?;
/// assert!((lse.double_value(&[0]) - 1000f64.ln()).abs() < 1e-4);
/// # Ok::<(), torch_ext::Error>(())
/// ```
pub fn streamed_logsumexp(
    query: &Tensor,
    keys: &KeyBlocks<'_>,
    temperature: f64,
) -> Result<Tensor> {
    // SAFETY: live tensors or null; the shim checks shapes and dtypes and, on success, hands over a
    // tensor that we own.
    make(|out, error| unsafe {
        ffi::polyqa_streamed_logsumexp(
            query.as_ptr(),
            keys.key.as_ptr(),
            raw_or_null(keys.groups.map(|(rows, _)| rows)),
            raw_or_null(keys.groups.map(|(_, columns)| columns)),
            keys.negative_groups.into(),
            raw_or_null(keys.offset),
            temperature,
            keys.normalise_eps.unwrap_or(-1.0),
            keys.block,
            out,
            error,
        )
    })
}
