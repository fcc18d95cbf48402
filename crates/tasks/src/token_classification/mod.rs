//! Token classification, such as named entities and answer types.
//!
//! [`TokenClassificationTask`] is the training task; [`EncodedSentences`] predicts and scores tags.
//! [`AlignedTaggingTask`] and [`StudentTask`] train teacher and student of *ProKD* for languages
//! without tags.
mod aligned;
mod held_out;
mod labels;
mod predict;
mod rows;
mod student;
mod task;

pub use aligned::{AlignedTaggingTask, AlignmentConfig};
pub use held_out::HeldOut;
pub use labels::{head, write_label_names};
pub use predict::{
    EncodedSentences, LabelProbability, TaggedSentences, best_labels,
    best_labels_with_probabilities,
};
pub use student::{SelfTrainingConfig, StudentTask, class_log_probabilities};
pub use task::TokenClassificationTask;
