//! Training examples of XLM-K (Jiang et al. 2022): masked entities with their descriptions, and
//! triples whose subject and object are described, across languages; and the queries and candidates
//! of its probes. Pairs of texts that mean one entity (Hou et al. 2022).
mod candidate;
mod described;
mod description;
mod entailment;
mod entailment_config;
mod entailment_example;
mod entailment_split;
mod entity_counts;
mod facts_by_language;
mod mention;
mod mention_passage;
mod mention_queries;
mod mention_split;
mod mix;
mod pair_sentence;
mod pairs;

pub use candidate::Candidate;
pub use description::{Descriptions, EncodedDescriptions, SameLanguage};
pub use entailment::EntailmentExamples;
pub use entailment_config::{EntailmentConfig, EntailmentReport};
pub use entailment_example::EntailmentExample;
pub use entity_counts::{EntityCounts, Resampling};
pub use mention::{
    MentionConfig, MentionExample, MentionExamples, MentionReport, TokenBoundary, TokenSpan,
};
pub use mention_split::{HeldOut, Split};
pub use mix::LanguageMix;
pub use pairs::{PairConfig, PairCounts, PairKind, RemoveObject, TextPair, TextPairs};
