//! Training examples of XLM-K (Jiang et al. 2022): masked entities with their descriptions, and
//! triples whose subject and object are described, across languages.
mod description;
mod entailment;
mod entailment_dataset;
mod entailment_source;
mod facts_by_language;
mod mention;
mod mention_dataset;
mod mention_passage;
mod mention_split;
mod mention_training;
mod mix;

pub use description::{Descriptions, EncodedDescriptions, SameLanguage};
pub use entailment::{
    EntailmentConfig, EntailmentExample, EntailmentExamples, EntailmentReport, RelationIds,
};
pub use entailment_dataset::{EntailmentDataset, ObjectExample};
pub use entailment_source::{EntailmentDatasetReport, EntailmentSource};
pub use mention::{
    MentionConfig, MentionExample, MentionExamples, MentionReport, TokenBoundary, TokenSpan,
};
pub use mention_dataset::{MentionDataset, MentionDatasetReport, MentionLinks, MentionSource};
pub use mention_split::{HeldOut, MentionSplits, Split};
pub use mention_training::{TrainedPair, TrainingMentions};
pub use mix::LanguageMix;
