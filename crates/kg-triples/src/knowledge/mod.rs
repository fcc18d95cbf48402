//! Training examples of XLM-K (Jiang et al. 2022): masked entities with their descriptions, and triples whose subject and
//! object are described, across languages.
mod description;
mod entailment;
mod mention;
mod mix;

pub use description::{Descriptions, EncodedDescriptions, SameLanguage};
pub use entailment::{
    EntailmentConfig, EntailmentExample, EntailmentExamples, EntailmentReport, RelationIds,
};
pub use mention::{
    MentionConfig, MentionExample, MentionExamples, MentionReport, TokenBoundary, TokenSpan,
};
pub use mix::LanguageMix;
