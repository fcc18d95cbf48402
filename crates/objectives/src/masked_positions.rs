//! Selection of the positions that carry loss.
use tch::{Device, Kind, Tensor};
use torch_ext::upload;

use crate::checks::{check_device_or_cpu, check_kind, check_matrix, min_max, shape_of};
use crate::{Error, IGNORE_INDEX};

/// The positions of a batch that carry loss, in row-major order, and their target tokens.
///
/// Returned by [`masked_positions`]. With 15 % of the tokens masked, a head that runs on
/// [`gather`](Self::gather)ed rows does 15 % of the work and stores 15 % of the logits; no other
/// position receives gradient.
#[derive(Debug)]
#[non_exhaustive]
pub struct MaskedPositions {
    /// `[N]` i64: the index `b · L + l` of each position in the flattened batch, ascending.
    pub indices: Tensor,
    /// `[N]` i64: the label of each position.
    pub targets: Tensor,
    /// `[B, L]`, the shape of the labels.
    pub shape: [i64; 2],
}

/// Finds the positions whose label is not [`IGNORE_INDEX`].
///
/// If all labels are ignored, `N = 0`, and losses return [`Error::Empty`]. Find the positions on
/// the CPU, before copying the batch to a GPU: their number must be known on the host.
///
/// # Shapes
/// - `labels`: `[B, L]` i64, the original token at masked positions, -100 elsewhere and at padding
///
/// # Errors
/// [`Error::Shape`] or [`Error::Dtype`] if `labels` is not `[B, L]` i64;
/// [`Error::Range`] if a label is negative and not -100.
///
/// # Example
/// ```
/// use objectives::{masked_positions, tch::Tensor};
///
/// let labels = Tensor::from_slice(&[-100_i64, 7, -100, 9, -100, -100]).view([2, 3]);
/// let masked = masked_positions(&labels)?;
/// assert_eq!(Vec::<i64>::try_from(&masked.indices)?, [1, 3]);
/// assert_eq!(Vec::<i64>::try_from(&masked.targets)?, [7, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn masked_positions(labels: &Tensor) -> Result<MaskedPositions, Error> {
    let (rows, length) = check_matrix("labels", labels, "[B, L]")?;
    check_kind("labels", labels, Kind::Int64, "Int64")?;
    let flat_labels = labels.f_reshape([-1])?;
    let indices = flat_labels.f_ne(IGNORE_INDEX)?.f_nonzero()?.f_squeeze_dim(1)?;
    let targets = flat_labels.f_index_select(0, &indices)?;
    if targets.size1()? > 0 {
        let (min, max) = min_max(&targets)?;
        if min < 0 {
            let rule = "a token id (0 or more) or -100 for no loss".into();
            return Err(Error::Range { tensor: "labels", rule, min, max });
        }
    }
    Ok(MaskedPositions { indices, targets, shape: [rows, length] })
}

impl MaskedPositions {
    /// Returns `N`, the number of positions that carry loss.
    pub fn len(&self) -> usize {
        self.indices.numel()
    }

    /// Returns whether no position carries loss.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the rows of `hidden` at the positions that carry loss, so that a head runs on
    /// `[N, H]` only.
    ///
    /// The function is differentiable; rows that are not gathered receive a gradient of exactly 0.
    ///
    /// # Shapes
    /// - `hidden`: `[B, L, …]` of any dtype: hidden states `[B, L, H]`, or ids in the layout of the
    ///   labels `[B, L]`, such as the entity of each masked token. It must be on the device of the
    ///   positions; if the positions are on the CPU, any device works
    /// - returns `[N, …]`, in the order of [`indices`](Self::indices)
    ///
    /// # Errors
    /// [`Error::Shape`] if B or L differ from the B and L of the labels; [`Error::Device`] if
    /// `hidden` is on another device.
    ///
    /// # Example
    /// ```
    /// use objectives::{masked_positions, tch::{Device, Kind, Tensor}};
    ///
    /// let labels = Tensor::from_slice(&[-100_i64, 7, -100, 9, -100, -100]).view([2, 3]);
    /// let hidden = Tensor::randn([2, 3, 8], (Kind::Float, Device::Cpu)); // B = 2, L = 3, H = 8
    /// let gathered = masked_positions(&labels)?.gather(&hidden)?;
    /// assert_eq!(gathered.size(), [2, 8]);
    /// # Ok::<(), objectives::Error>(())
    /// ```
    pub fn gather(&self, hidden: &Tensor) -> Result<Tensor, Error> {
        let got = shape_of("hidden", hidden)?;
        if got.len() < 2 || got[..2] != self.shape {
            let [rows, length] = self.shape;
            let expected = format!("[{rows}, {length}, …], the labels' B and L first");
            return Err(Error::Shape { tensor: "hidden", expected, got });
        }
        let device = hidden.device();
        check_device_or_cpu("labels", &self.indices, "hidden", device)?;
        Ok(hidden.f_flatten(0, 1)?.f_index_select(0, &upload(&self.indices, device)?)?)
    }

    /// Copies the positions to another device.
    ///
    /// # Errors
    /// [`Error::Torch`] if libtorch cannot copy to `device`.
    pub fn to_device(&self, device: Device) -> Result<Self, Error> {
        Ok(Self {
            indices: upload(&self.indices, device)?,
            targets: upload(&self.targets, device)?,
            shape: self.shape,
        })
    }
}
