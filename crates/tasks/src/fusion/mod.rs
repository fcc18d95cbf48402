//! Fusion of texts with their translations (FILTER, Fang et al. 2021); see
//! [`xlmr_model::encode_fused`].
//!
//! 1. [`PairedQuestions`]: questions with their translations;
//! 2. [`FusedQaTask`] and [`FusedClassificationTask`]: training tasks on both halves, in phase two
//!    with a teacher's soft labels on the target half;
//! 3. [`TeacherLogits`]: the scores of the teacher, computed once and stored;
//! 4. [`FusedPredictor`]: answers with a second text, and [`best_fused_classes`] for
//!    classification;
//! 5. [`FusedEvaluation`]: the scores with each second text, and the scores of answers found in the
//!    translation and projected back.
mod classification;
mod config;
mod evaluation;
mod halves;
mod pairs;
mod parallel;
mod predictor;
mod projected;
mod question_answering;
mod task;
mod teacher;
#[cfg(test)]
mod tests;

pub use classification::{ClassPair, FusedClassificationTask, best_fused_classes};
pub use config::{
    FusedQaConfig, PairedText, SoftPositions, SoftTeaching, StudentStart, WindowPairing,
};
pub use evaluation::FusedEvaluation;
pub use pairs::PairCounts;
use pairs::WindowPairs;
pub use parallel::{PairedFile, PairedQuestions};
pub use predictor::{FusedPredictor, SecondTextConfig, questions_by_id};
use projected::answer_by_projection;
pub use question_answering::FusedQaTask;
pub use task::{FusedHead, FusedTask};
pub use teacher::TeacherLogits;
