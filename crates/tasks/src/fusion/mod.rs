//! Fusion of texts with their translations (FILTER, Fang et al. 2021); see
//! [`xlmr_model::encode_fused`].
//!
//! 1. [`PairedQuestions`]: questions with their translations;
//! 2. [`FusedQaTask`] and [`FusedClassificationTask`]: training tasks on both halves, in phase two
//!    with a teacher's soft labels on the target half;
//! 3. [`TeacherLogits`]: the scores of the teacher, computed once and stored;
//! 4. [`SecondTextConfig`]: the second text of a
//!    [`QaPredictor`](crate::question_answering::QaPredictor::with_second_text), and
//!    [`best_fused_classes`] for classification;
//! 5. [`FusedEvaluation`]: the scores with each second text, and the scores of answers found in the
//!    translation and projected back.
mod classification;
mod config;
mod evaluation;
mod halves;
mod pairs;
mod parallel;
mod projected;
mod question_answering;
mod second;
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
use projected::answer_by_projection;
pub use question_answering::FusedQaTask;
pub(crate) use second::WindowLogits;
pub use second::{SecondTextConfig, questions_by_id};
pub use task::{FusedHead, FusedTask};
pub use teacher::TeacherLogits;
pub(crate) use teacher::to_lists;
