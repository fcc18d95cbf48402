//! A label for every token: named entities, answer types, anything tagged.
//!
//! [`TokenClassificationTask`] trains on encoded sentences, [`EncodedSentences`] predicts and scores.
mod predict;
mod task;

pub use predict::{EncodedSentences, TaggedSentences, best_labels};
pub use task::TokenClassificationTask;
