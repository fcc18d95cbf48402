//! Texts read together with their translation (FILTER, Fang et al. 2021): some layers of the
//! encoder see both, see [`xlmr_model::fused`].
//!
//! 1. [`PairedQuestions`]: questions beside their translations;
//! 2. [`FusedQaTask`] and [`FusedClassificationTask`]: both halves as training tasks, in phase two
//!    with a first model's soft labels on the target half;
//! 3. [`TeacherLogits`]: that model's scores, computed once and kept;
//! 4. [`SecondReading`]: what a
//!    [`QaPredictor`](crate::question_answering::QaPredictor::with_second_text) reads beside a
//!    question; [`best_fused_classes`] for classification;
//! 5. [`FusedEvaluation`]: the scores of all of these, and of answers that are found in the
//!    translation alone and projected.
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
pub use second::{SecondReading, by_id};
pub use task::{FusedHead, FusedTask};
pub use teacher::TeacherLogits;
pub(crate) use teacher::lists;
