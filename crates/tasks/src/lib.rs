#![doc = include_str!("../README.md")]

pub mod alignment;
mod batch;
pub mod cloze_ranking;
mod contrast;
pub mod entity_alignment;
mod error;
pub mod fusion;
pub mod graph_retrieval;
mod held_out;
mod inference;
pub mod knowledge;
pub mod label_retrieval;
mod language_groups;
pub mod masked_lm;
mod micro_batches;
mod model_fingerprint;
pub mod oie;
pub mod pooling;
pub mod question_answering;
pub mod relation_classification;
pub mod reranking;
pub mod sequence_classification;
mod shard_examples;
#[cfg(test)]
#[path = "../tests/helpers/mod.rs"]
mod testing;
pub mod text_pairs;
pub mod text_scores;
pub mod token_classification;
pub mod two_stage;
pub mod word_embeddings;

pub use error::{Error, Result};
pub use language_groups::LanguageGroups;
