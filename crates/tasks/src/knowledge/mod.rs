//! XLM-K (Jiang et al. 2022): the joint task over mentions and triples, and its retrieval probes.
//!
//! | step | where |
//! |---|---|
//! | mentions with descriptions of their entities, triples | [`kg_triples::knowledge`] |
//! | the same in memory or streamed, text for masked LM | [`KnowledgeData`] |
//! | masked entity prediction, object entailment, masked LM (Eq. 6) | [`KnowledgeTask`] |
//! | cross-lingual entity and object retrieval (appendix B) | [`KnowledgeProbe`] |
//! | what counting alone is worth there | [`FrequencyBaseline`] |
mod batch;
mod candidates;
mod config;
mod data;
mod frequency_baseline;
mod losses;
mod probe;
mod scores;
mod streamed;
mod task;

#[cfg(test)]
mod tests;

pub use batch::LanguageDomains;
pub use candidates::ProbeConfig;
pub use config::{
    ContrastWithin, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights, MentionMasking,
    ObjectEntailment, Representation,
};
pub use data::{KnowledgeData, KnowledgeFiles, Mentions, Triples};
pub use frequency_baseline::FrequencyBaseline;
pub use probe::KnowledgeProbe;
pub use scores::ProbeScores;
pub(crate) use streamed::parse;
pub use streamed::{EntailmentShards, MentionShards};
pub use task::KnowledgeTask;
