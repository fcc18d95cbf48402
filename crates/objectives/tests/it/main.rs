//! Integration tests, compiled into one binary.
#![allow(clippy::unwrap_used, clippy::panic)] // test helpers

mod answer_candidates;
mod answer_contrast;
mod cached_step;
mod common;
mod cosine_regression;
mod entity_completion;
mod group_span;
mod hard_learning;
mod hard_negatives;
mod info_nce;
mod knowledge_contrast;
mod linear_cross_entropy;
mod listwise;
mod masked_lm;
mod masked_positions;
mod masking;
mod mix_by_alpha;
mod negative_queue;
mod prototypes;
mod soft_labels;
mod span;
mod span_log_probs;
mod top_k_spans;
mod uncertainty_weighting;
