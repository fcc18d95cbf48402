//! Second stage of *From Good to Best*: hard learning and answer-aware contrast over a reader's
//! best spans.
//!
//! 1. [`CandidateMiner`] and [`Candidates`]: the candidates Z of every training window, computed
//!    once and stored in a file;
//! 2. [`BoundaryTask`]: the second stage's losses (Eq. 9) over windows and candidates.
//!
//! The first stage is [`QaTask`](crate::question_answering::QaTask);
//! [`QaPredictor`](crate::question_answering::QaPredictor) predicts answers.
mod candidates;
mod config;
mod task;
#[cfg(test)]
mod tests;

pub use candidates::{CandidateMiner, CandidateReport, Candidates};
pub use config::{BoundaryConfig, BoundaryTerms, MiningConfig};
pub use task::BoundaryTask;
