//! XLM-K (Jiang et al. 2022): tasks on mentions and triples, and retrieval probes.
//!
//! | step | where |
//! |---|---|
//! | mentions with descriptions of their entities, triples | `kg-triples mentions`, `kg-triples entailment` |
//! | streaming of these folders, and of text for masked LM | [`KnowledgeData`] |
//! | masked entity prediction (Eq. 1, 2, 5) | [`EntityPredictionTask`] |
//! | object entailment (Eq. 3 to 5) | [`ObjectEntailmentTask`] |
//! | masked LM; the sum of the losses (Eq. 6) | [`KnowledgeData::masked_lm`], [`trainer::WeightedSum`] |
//! | cross-lingual entity and object retrieval (appendix B) | [`KnowledgeProbe`] |
//! | frequency baselines | [`FrequencyBaseline`], [`ObjectBaseline`] |
mod candidates;
mod config;
mod data;
mod domains;
mod entity_prediction;
mod frequency_baseline;
mod object_baseline;
mod object_entailment;
mod prepared;
mod probe;
mod scores;

#[cfg(test)]
mod tests;

pub use candidates::ProbeConfig;
pub use config::{
    ContrastWithin, KnowledgeLossConfig, KnowledgeTaskConfig, LossWeights, MentionMasking,
    ObjectEntailment, Representation,
};
pub use data::KnowledgeData;
pub use domains::LanguageDomains;
pub use entity_prediction::EntityPredictionTask;
pub use frequency_baseline::FrequencyBaseline;
pub use object_baseline::ObjectBaseline;
pub use object_entailment::ObjectEntailmentTask;
pub(crate) use prepared::parse_record;
pub use prepared::{EntailmentShards, MentionProbe, MentionShards, TrainedPairs, TripleProbe};
pub use probe::KnowledgeProbe;
pub use scores::ProbeScores;
