//! Log-sum-exp of query-key dot products over many keys, computed in blocks of keys.
use tch::Tensor;

use crate::Result;
use crate::ffi::{self, make_tensor, raw_or_null};

/// The keys and options of [`streamed_logsumexp`].
#[derive(Clone, Copy, Debug)]
pub struct KeyBlocks<'a> {
    /// The keys, `[M, D]`.
    pub key: &'a Tensor,
    /// Group ids of the queries `[R]` and of the keys `[M]`, i64. Keys in the query's group are
    /// excluded. `None` excludes no keys.
    pub groups: Option<(&'a Tensor, &'a Tensor)>,
    /// Whether a negative id denotes a group. If false, a key with a negative id belongs to no
    /// group, so it is never excluded.
    pub negative_groups: bool,
    /// `[R]` float, without gradient: the value subtracted from each similarity of a query, or
    /// `None` for 0. If this value is close to the query's log-sum-exp, the result is close to 0
    /// and has a small rounding error.
    pub offset: Option<&'a Tensor>,
    /// If set, each key is divided by its L2 norm, or by this value if the norm is smaller. Only
    /// for keys that require no gradient.
    pub normalise_eps: Option<f64>,
    /// Number of keys per block, at least 1.
    pub block_size: i64,
}

/// Computes `ln Σₘ exp(query · key[m] / temperature − offset)` for each query over the keys that
/// [`KeyBlocks::groups`] does not exclude; -∞ for a query without such keys.
///
/// A custom autograd function keeps a running maximum per query. The forward pass also computes the
/// gradient of `query` from the same dot products. The backward pass computes the dot products
/// again for the gradient of `key`. Memory is needed for a few tensors of `query`'s size, and for
/// `[R, block_size]` dot products. Second derivatives (`create_graph`) are not supported.
///
/// # Shapes
/// - `query`: `[R, D]` float; receives gradient
/// - `keys.key`: `[M, D]` float; receives gradient if required
/// - returns `[R]`: float64 for float64 queries, else float32; dot products and sums use this dtype
///
/// # Errors
/// [`Error::Libtorch`](crate::Error::Libtorch) for shapes or dtypes that do not match.
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
///     block_size: 64,
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
    // SAFETY: live tensors or null; the shim checks shapes and dtypes and, on success, returns a
    // tensor that we own.
    make_tensor(|out, error| unsafe {
        ffi::polyqa_streamed_logsumexp(
            query.as_ptr(),
            keys.key.as_ptr(),
            raw_or_null(keys.groups.map(|(rows, _)| rows)),
            raw_or_null(keys.groups.map(|(_, columns)| columns)),
            keys.negative_groups.into(),
            raw_or_null(keys.offset),
            temperature,
            keys.normalise_eps.unwrap_or(-1.0),
            keys.block_size,
            out,
            error,
        )
    })
}
