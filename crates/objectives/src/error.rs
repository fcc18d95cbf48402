//! Errors of the losses.
use tch::{Device, Kind};

/// An error of a loss. Most messages name a tensor or option, and its expected and actual values.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An undefined tensor, such as `Tensor::new()`.
    #[error("{tensor}: the tensor is undefined; pass a tensor with data")]
    Undefined {
        /// The argument's name.
        tensor: &'static str,
    },
    /// A tensor of an unexpected shape.
    #[error("{tensor}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The argument's name.
        tensor: &'static str,
        /// The documented shape, with known sizes.
        expected: String,
        /// The actual shape.
        got: Vec<i64>,
    },
    /// A tensor of an unsupported dtype.
    #[error("{tensor}: expected dtype {expected}, got {got:?}; convert it with `to_kind`")]
    Dtype {
        /// The argument's name.
        tensor: &'static str,
        /// The accepted dtypes.
        expected: &'static str,
        /// The actual dtype.
        got: Kind,
    },
    /// A tensor on the wrong device.
    #[error(
        "{tensor}: expected device {expected:?} like {reference}, got {got:?}; \
         move it with `to_device`"
    )]
    Device {
        /// The argument's name.
        tensor: &'static str,
        /// The argument that sets the device.
        reference: &'static str,
        /// The expected device.
        expected: Device,
        /// The actual device.
        got: Device,
    },
    /// An id, position or other integer outside its range.
    #[error("{tensor}: every value must be {rule}; got values from {min} to {max}")]
    Range {
        /// The argument's name.
        tensor: &'static str,
        /// The accepted values, and how to fix invalid values.
        rule: String,
        /// The smallest value found.
        min: i64,
        /// The largest value found.
        max: i64,
    },
    /// A gold position that has probability 0, because the context mask excludes it.
    #[error(
        "{tensor}[{row}] = {position}: context_mask[{row}, {position}] is false, so the gold \
         position has probability 0; include it in the mask, or change the label"
    )]
    Excluded {
        /// The argument that holds the gold position.
        tensor: &'static str,
        /// Index of the row in the batch.
        row: i64,
        /// The gold position.
        position: i64,
    },
    /// An option outside its domain.
    #[error("{option} = {value}: must be {rule}")]
    Domain {
        /// The option's name.
        option: &'static str,
        /// The actual value.
        value: f64,
        /// The accepted values.
        rule: &'static str,
    },
    /// No element carries loss, so a mean would be 0/0.
    #[error("{tensor}: {reason}; skip this batch")]
    Empty {
        /// The argument's name.
        tensor: &'static str,
        /// The reason.
        reason: &'static str,
    },
    /// A count that differs between calls.
    #[error("{items}: expected {expected}, got {got}")]
    Count {
        /// The objects that were counted.
        items: &'static str,
        /// The expected count.
        expected: usize,
        /// The actual count.
        got: usize,
    },
    /// An error of libtorch.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// An error of a `torch-ext` kernel.
    #[error(transparent)]
    Kernel(#[from] torch_ext::Error),
    /// A span whose last token precedes its first token.
    #[error("{tensor}{index:?} = {end}: the span starts at {start}, so it must end there or later")]
    Reversed {
        /// The argument that holds the span's end.
        tensor: &'static str,
        /// The index of the first reversed span.
        index: Vec<i64>,
        /// First token of the span.
        start: i64,
        /// Last token of the span.
        end: i64,
    },
    /// A gold index that points to an empty slot.
    #[error(
        "gold_index[{row}] = {slot}: valid[{row}, {slot}] is false, so there is no gold candidate"
    )]
    GoldSlot {
        /// Index of the row in the batch.
        row: i64,
        /// The slot.
        slot: i64,
    },
    /// A row that carries loss but lacks required tokens, for example question tokens.
    #[error("{tensor}[{row}]: {reason}")]
    EmptyRow {
        /// The argument's name.
        tensor: &'static str,
        /// Index of the row in the batch.
        row: i64,
        /// The missing tokens, and how to fix the row.
        reason: &'static str,
    },
    /// A missing argument, an empty list, or a tensor missing in a saved state.
    #[error("{argument}: {reason}")]
    Missing {
        /// The argument's name.
        argument: &'static str,
        /// Why the argument is required, or where it is missing.
        reason: &'static str,
    },
}
