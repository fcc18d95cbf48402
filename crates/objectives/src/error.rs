//! What a loss can refuse, and why.
use tch::{Device, Kind};

/// A loss that could not be computed: which tensor or option, what was expected, what came.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor that holds nothing, as `Tensor::new()` makes it.
    #[error("{tensor}: the tensor is undefined; pass one that holds data")]
    Undefined {
        /// The argument's name.
        tensor: &'static str,
    },
    /// A tensor of another shape than its documentation or its neighbours ask for.
    #[error("{tensor}: expected shape {expected}, got {got:?}")]
    Shape {
        /// The argument's name.
        tensor: &'static str,
        /// The shape in the documentation's letters, with sizes where they are known.
        expected: String,
        /// The shape that came.
        got: Vec<i64>,
    },
    /// A tensor of another dtype.
    #[error("{tensor}: expected dtype {expected}, got {got:?}; convert it with `to_kind`")]
    Dtype {
        /// The argument's name.
        tensor: &'static str,
        /// The dtypes that are accepted.
        expected: &'static str,
        /// The dtype that came.
        got: Kind,
    },
    /// A tensor on another device than the one it is used with.
    #[error(
        "{tensor}: expected device {expected:?} like {like}, got {got:?}; move it with `to_device`"
    )]
    Device {
        /// The argument's name.
        tensor: &'static str,
        /// The argument that sets the device.
        like: &'static str,
        /// That device.
        expected: Device,
        /// The device that came.
        got: Device,
    },
    /// An id, position or number outside its range.
    #[error("{tensor}: every value must be {rule}; the values run from {min} to {max}")]
    Range {
        /// The argument's name.
        tensor: &'static str,
        /// The values that are accepted, and what to do about others.
        rule: String,
        /// The smallest value that came.
        min: i64,
        /// The largest value that came.
        max: i64,
    },
    /// A gold position that the context mask takes out of the softmax, so its probability is 0.
    #[error(
        "{tensor}[{row}] = {position}: context_mask[{row}, {position}] is false, so the gold \
         position has probability 0; keep it in the mask, or move the label"
    )]
    Excluded {
        /// The argument that holds the gold position.
        tensor: &'static str,
        /// Its row in the batch.
        row: i64,
        /// The gold position.
        position: i64,
    },
    /// A value that makes the loss infinite or NaN; checked under
    /// [`Checks::Full`](crate::Checks::Full) only.
    #[error("{tensor}{index:?} = {value}: {rule}")]
    NotFinite {
        /// The argument's name.
        tensor: &'static str,
        /// The index of the first such value.
        index: Vec<i64>,
        /// The value.
        value: f64,
        /// What was expected.
        rule: &'static str,
    },
    /// An option outside its domain.
    #[error("{option} = {value}: must be {rule}")]
    Domain {
        /// The option's name.
        option: &'static str,
        /// The value that came.
        value: f64,
        /// What was expected.
        rule: &'static str,
    },
    /// Nothing carries loss, so that a mean would be 0/0.
    #[error("{tensor}: {reason}; skip this batch")]
    Empty {
        /// The argument's name.
        tensor: &'static str,
        /// Why nothing is left.
        reason: &'static str,
    },
    /// Another number of things than before.
    #[error("{what}: expected {expected}, got {got}")]
    Count {
        /// What was counted.
        what: &'static str,
        /// How many were expected.
        expected: usize,
        /// How many came.
        got: usize,
    },
    /// libtorch refused an operation.
    #[error(transparent)]
    Torch(#[from] tch::TchError),
    /// A kernel of `torch-ext` refused its arguments.
    #[error(transparent)]
    Kernel(#[from] torch_ext::Error),
    /// A span whose last token comes before its first.
    #[error("{tensor}{index:?} = {end}: the span starts at {start}, so it must end there or later")]
    Reversed {
        /// The argument that holds the span's end.
        tensor: &'static str,
        /// The index of the first such span.
        index: Vec<i64>,
        /// Its first token.
        start: i64,
        /// Its last token.
        end: i64,
    },
    /// A gold candidate in a slot that holds none.
    #[error(
        "gold_index[{row}] = {slot}: valid[{row}, {slot}] is false, so there is no gold candidate"
    )]
    GoldSlot {
        /// Its row in the batch.
        row: i64,
        /// The slot.
        slot: i64,
    },
    /// A row that carries loss but lacks something it needs.
    #[error("{tensor}[{row}]: {reason}")]
    EmptyRow {
        /// The argument's name.
        tensor: &'static str,
        /// Its row in the batch.
        row: i64,
        /// What is missing.
        reason: &'static str,
    },
    /// An optional argument that the config makes necessary, an empty list, or a tensor that a
    /// saved state lacks.
    #[error("{argument}: {reason}")]
    Missing {
        /// The argument's name.
        argument: &'static str,
        /// What it is needed for.
        reason: &'static str,
    },
    /// Two terms of the same name.
    #[error("{name}: two terms have this name; rename one, so that the report can tell them apart")]
    Duplicate {
        /// The name.
        name: &'static str,
    },
}
