//! Scores of predictions: exact match and F1, SQuAD 2.0 and boundaries.
mod boundary;
mod by_key;
mod by_language;
mod n_best;
mod normalize;
mod predictions;
mod score;
mod score_files;
mod squad2;
mod token_buffer;
mod top_k;
pub(crate) mod unicode;

pub(crate) use boundary::format_boundary_table;
pub use boundary::{BoundaryClass, BoundaryCounts, classify_boundaries, count_boundaries};
pub use by_key::GroupScore;
pub use by_language::{LanguageScore, LanguageScores, MeanScore, score_by_language};
pub use n_best::{Candidate, NBest, NBestFile, write_n_best};
pub use normalize::Normalization;
pub use predictions::{NullOdds, Predictions};
pub use score::{QuestionScore, Score, ScoreIntervals, score};
pub use score_files::{ScoredFile, score_files};
pub use squad2::{BestThreshold, Squad2Score, SquadPart, score_squad2};
pub use top_k::top_k_exact_match;
