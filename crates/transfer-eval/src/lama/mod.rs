//! LAMA: completion of facts by masked language models.
mod cloze;
mod facts;
mod score;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;
mod typed;
mod vocabulary;

pub use cloze::{Cloze, ClozeConfig, Clozes, build_clozes};
pub use facts::{Corpus, Fact, Facts, Relation, read_corpus};
pub use score::{LamaScore, Precision, RelationScore, rank_golds, score_lama};
pub use typed::{
    TypedCloze, TypedClozes, TypedFact, TypedFacts, TypedRelation, build_typed_clozes, read_mlama,
};
pub use vocabulary::{Candidates, CommonVocabulary};
