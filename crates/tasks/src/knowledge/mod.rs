//! XLM-K (Jiang et al. 2022): the joint task over mentions and triples, and its retrieval probes.
//!
//! | step | where |
//! |---|---|
//! | mentions with descriptions of their entities, triples | `kg-triples mentions`, `kg-triples entailment` |
//! | these folders and text for masked LM, streamed | [`KnowledgeData`] |
//! | masked entity prediction, object entailment, masked LM (Eq. 6) | [`KnowledgeTask`] |
//! | cross-lingual entity and object retrieval (appendix B) | [`KnowledgeProbe`] |
//! | what counting alone is worth there | [`FrequencyBaseline`] |
mod batch;
mod candidates;
mod config;
mod data;
mod frequency_baseline;
mod losses;
mod prepared;
mod probe;
mod scores;
mod task;

#[cfg(test)]
mod tests;

pub use batch::LanguageDomains;
pub use candidates::ProbeConfig;
pub use config::{
    ContrastWithin, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights, MentionMasking,
    ObjectEntailment, Representation,
};
pub use data::KnowledgeData;
pub use frequency_baseline::FrequencyBaseline;
pub(crate) use prepared::parse;
pub use prepared::{EntailmentShards, MentionProbe, MentionShards, TrainedPairs, TripleProbe};
pub use probe::KnowledgeProbe;
pub use scores::ProbeScores;
pub use task::KnowledgeTask;
