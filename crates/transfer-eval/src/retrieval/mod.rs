//! Entity retrieval (XLM-K's XEP and XOR): candidate lists, exact ranks and scores.
//!
//! [`score_run`] scores rankings in TREC's format.
//!
//! [`map`] fits linear maps between the vectors of two languages, and [`add_question_vectors`] adds question
//! vectors to passage vectors.
mod augment;
mod csls;
mod list;
pub mod map;
mod rank;
mod score;
mod summary;
mod trec;
mod vectors;

pub use augment::add_question_vectors;
pub use csls::{mutual_nearest, rank_by_csls};
pub use list::{
    CandidateConfig, CandidateList, Description, GoldLanguage, ListedQuery, Query, SkipReason,
    SkippedQuery,
};
pub use rank::{RankConfig, Similarity, rank_candidates};
pub use score::{LanguagePairScore, RankSummary, RetrievalScore, score_retrieval};
pub use summary::RetrievalSummary;
pub use trec::{CutoffScore, Qrels, Run, RunScore, score_run};
pub use vectors::read_vectors;
