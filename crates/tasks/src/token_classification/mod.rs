//! Token classification, such as named entities and answer types.
//!
//! [`TokenClassificationTask`] is the training task; [`EncodedSentences`] predicts and scores tags.
mod held_out;
mod labels;
mod predict;
mod task;

pub use held_out::HeldOut;
pub use labels::{head, write_label_names};
pub use predict::{EncodedSentences, TaggedSentences, best_labels};
pub use task::TokenClassificationTask;
