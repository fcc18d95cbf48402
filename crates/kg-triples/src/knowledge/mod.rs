//! Training examples of XLM-K (Jiang et al. 2022): masked entities with their descriptions, and
//! triples whose subject and object are described, across languages.
mod described;
mod description;
mod entailment_dataset;
mod entailment_example;
mod entailment_source;
mod entailment_split;
mod facts_by_language;
mod mention;
mod mention_dataset;
mod mention_passage;
mod mention_split;
mod mention_training;
mod mix;
mod relation_ids;

pub use description::{Descriptions, EncodedDescriptions, SameLanguage};
pub use entailment_dataset::EntailmentDataset;
pub use entailment_example::EntailmentExample;
pub use entailment_source::{DescribedBy, EntailmentReport, EntailmentSource};
pub use mention::{
    MentionConfig, MentionExample, MentionExamples, MentionReport, TokenBoundary, TokenSpan,
};
pub use mention_dataset::{MentionDataset, MentionDatasetReport, MentionLinks, MentionSource};
pub use mention_split::{HeldOut, MentionSplits, Split};
pub use mention_training::{TrainedPair, TrainingMentions};
pub use mix::LanguageMix;
pub use relation_ids::RelationIds;
