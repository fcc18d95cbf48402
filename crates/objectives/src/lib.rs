#![doc = include_str!("../README.md")]

pub use tch;

/// The label of a position that carries no loss, in every tensor of labels.
pub const IGNORE_INDEX: i64 = -100;

mod checks;
mod cross_entropy;
mod entity_completion;
mod error;
mod masked_lm;
mod masked_positions;
mod span;

pub mod masking;

pub use checks::Checks;
pub use entity_completion::{EntityCompletionConfig, EntityNormalization, entity_completion};
pub use error::LossError;
pub use masked_lm::{MaskedLmConfig, MaskedLmReduction, masked_lm};
pub use masked_positions::{MaskedPositions, masked_positions};
pub use span::{OutOfWindow, SpanConfig, SpanReduction, span};
