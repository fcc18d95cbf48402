//! Texts read together with their translation (FILTER, Fang et al. 2021): some layers of the
//! encoder see both, see [`xlmr_model::fused`].
//!
//! 1. [`WindowPairs`]: windows of questions beside those of their translations;
//! 2. [`FusedQaTask`] and [`FusedClassificationTask`]: both halves as training tasks, in phase two
//!    with a first model's soft labels on the target half;
//! 3. [`TeacherLogits`]: that model's scores, computed once and kept;
//! 4. [`SecondReading`]: what a
//!    [`QaPredictor`](crate::question_answering::QaPredictor::with_second_text) reads beside a
//!    question; [`best_fused_classes`] for classification.
mod classification;
mod config;
mod halves;
mod pairs;
mod question_answering;
mod second;
mod teacher;
#[cfg(test)]
mod tests;

pub use classification::{ClassPair, FusedClassificationTask, best_fused_classes};
pub use config::{FusedQaConfig, SecondText, SoftPositions, SoftTeaching, WindowPairing};
pub use pairs::{PairCounts, WindowPairs};
pub use question_answering::FusedQaTask;
pub(crate) use second::WindowLogits;
pub use second::{SecondReading, by_id};
pub use teacher::TeacherLogits;
