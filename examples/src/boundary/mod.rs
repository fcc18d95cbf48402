//! *From Good to Best*: a reader's best spans as candidates, the joint task of hard learning and answer-aware contrast over
//! them, and what its answers show.
mod candidates;
mod config;
mod score;
mod task;
#[cfg(test)]
mod tests;

pub use candidates::{CandidateReport, Candidates, MinedReader};
pub use config::{BoundaryConfig, BoundaryTerms, CandidateConfig};
pub use score::{FileScore, QuestionFile, ScoreConfig, score_files};
pub use task::{BoundaryTask, WEIGHTS};
