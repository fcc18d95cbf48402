#![doc = include_str!("../README.md")]

pub use tch;

/// The label of a position that carries no loss, in every tensor of labels.
pub const IGNORE_INDEX: i64 = -100;

mod answer_candidates;
mod answer_contrast;
mod cached_step;
mod checks;
mod cosine_regression;
mod cross_entropy;
mod entity_completion;
mod error;
mod group_span;
mod hard_learning;
mod hard_negatives;
mod info_nce;
mod knowledge_contrast;
mod linear_cross_entropy;
mod listwise;
mod masked_lm;
mod masked_positions;
mod mix_by_alpha;
mod negative_queue;
mod prototypes;
mod soft_labels;
mod span;
mod span_checks;
mod span_log_probs;
mod span_vectors;
mod token_scores;
mod top_k_spans;
mod uncertainty_weighting;

pub mod masking;

pub use answer_candidates::{AnswerCandidates, CandidateSpans, answer_candidates};
pub use answer_contrast::{AnswerContrastConfig, answer_contrast};
pub use cached_step::cached_step;
pub use checks::MAX_TEMPERATURE;
pub use cosine_regression::cosine_regression;
pub use entity_completion::{EntityCompletionConfig, EntityNormalization, entity_completion};
pub use error::Error;
pub use group_span::{GroupNormalization, GroupSpanConfig, group_span};
pub use hard_learning::{
    HardLearningConfig, HardLearningWeighting, hard_em_probability, hard_learning,
};
pub use hard_negatives::{HardNegatives, NegativeSelection, hard_negatives};
pub use info_nce::{ContrastRowInfo, Direction, InfoNceConfig, Negatives, info_nce};
pub use knowledge_contrast::{
    ContrastConfig, Push, masked_entity_prediction, object_entailment, relation_classification,
};
pub use linear_cross_entropy::linear_cross_entropy;
pub use listwise::{ListwiseConfig, listwise};
pub use masked_lm::{MaskedLmConfig, MaskedLmReduction, masked_lm};
pub use masked_positions::{MaskedPositions, masked_positions};
pub use mix_by_alpha::mix_by_alpha;
pub use negative_queue::{NegativeQueue, QueueConfig, QueueStart};
pub use prototypes::{
    ClassPrototypes, PrototypeConfig, class_prototypes, prototype_alignment,
    prototype_probabilities,
};
pub use soft_labels::{SoftLabelConfig, SoftmaxOver, soft_labels};
pub use span::{OutOfWindow, SpanConfig, SpanReduction, span};
pub use span_log_probs::span_log_probs;
pub use token_scores::TokenScores;
pub use top_k_spans::{TopKConfig, TopKSpans, top_k_spans};
pub use torch_ext::{MicroBatch, MicroBatchSeeds, StepContext};
pub use uncertainty_weighting::uncertainty_weighting;
