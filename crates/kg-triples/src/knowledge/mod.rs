//! Training examples and probes of XLM-K (Jiang et al. 2022), and text pairs (Hou et al. 2022).
//!
//! XLM-K trains on mentions with descriptions of the mentioned entity, and on triples with
//! descriptions of subject and object, in different languages. A text pair consists of two texts
//! that refer to one entity.
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
mod mention_config;
mod mention_example;
mod mention_passage;
mod mention_queries;
mod mention_split;
mod mix;
mod pair_sentence;
mod pairs;

pub use candidate::Candidate;
pub use description::{Descriptions, EncodedDescriptions};
pub use entailment::EntailmentExamples;
pub use entailment_config::{EntailmentConfig, EntailmentReport};
pub use entailment_example::EntailmentExample;
pub use entity_counts::{EntityCounts, Resampling};
pub use mention::{MentionExamples, MentionReport};
pub use mention_config::MentionConfig;
pub use mention_example::{MentionExample, TokenSpan};
pub use mention_split::{HeldOut, Split};
pub use mix::LanguageMix;
pub use pair_sentence::RemoveObject;
pub use pairs::{PairConfig, PairCounts, PairKind, TextPair, TextPairs};
