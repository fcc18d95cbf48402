//! Relation classification: examples in TACRED's format, marked inputs, micro-averaged F1.
mod encode;
mod labels;
mod read;
mod score;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;

pub use encode::{Markers, RelationConfig, RelationInput, encode_relations};
pub use labels::{NO_RELATION, RelationLabels};
pub use read::{RelationExample, read_relation_names, read_relations};
pub use score::{RelationCounts, RelationScore, score_relations};
