#![doc = include_str!("../README.md")]

pub use tch;

/// The label of a position that carries no loss, in every tensor of labels.
pub const IGNORE_INDEX: i64 = -100;

mod cached_step;
mod checks;
mod cross_entropy;
mod entity_completion;
mod error;
mod info_nce;
mod knowledge_contrast;
mod linear_cross_entropy;
mod masked_lm;
mod masked_positions;
mod negative_queue;
mod span;
mod token_scores;

pub use cached_step::cached_step;
pub use checks::Checks;
pub use entity_completion::{EntityCompletionConfig, EntityNormalization, entity_completion};
pub use error::LossError;
pub use info_nce::{ContrastRows, Direction, InfoNceConfig, InfoNceReduction, Negatives, info_nce};
pub use knowledge_contrast::{ContrastConfig, Push, mep, oe, relation_classification};
pub use linear_cross_entropy::{
    LinearCrossEntropyConfig, LinearCrossEntropyOutput, TokenReduction, linear_cross_entropy,
};
pub use masked_lm::{MaskedLmConfig, MaskedLmReduction, masked_lm};
pub use masked_positions::{MaskedPositions, masked_positions};
pub use negative_queue::{NegativeQueue, QueueConfig, QueueStart};
pub use span::{OutOfWindow, SpanConfig, SpanReduction, span};
pub use token_scores::TokenScores;
