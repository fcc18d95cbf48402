//! Extractive question answering: answers are spans of the context.
//!
//! 1. [`QaTask`]: training task for a span head on windows of questions with gold answers, with or
//!    without [augmentation](QaAugmentation);
//! 2. [`QaPredictor`]: a trained model's best answers;
//! 3. [`DevSelection`]: selection of a stage's model by development questions;
//! 4. [`evaluate()`] and [`evaluate_file`]: writing and scoring of answers to question files.
mod augmentation;
mod benchmarks;
mod development;
mod entity_spans;
mod evaluate;
mod negatives;
mod predictor;
mod task;
mod training_questions;
mod window_batch;

pub use augmentation::QaAugmentation;
pub use benchmarks::{check_files, evaluate_sets, mlqa_files, xquad_files};
pub use development::{DevMetric, DevSelection, DevSet, SelectedModel};
pub use entity_spans::QuestionEntitySpans;
pub(crate) use evaluate::check_decoding;
pub use evaluate::{
    EvaluationConfig, QuestionFile, QuestionLanguages, ScoreConfig, evaluate, evaluate_file,
    question_file,
};
pub use mlqa_eval::FileScore;
pub use negatives::{NegativeLoss, Negatives};
pub use predictor::QaPredictor;
pub(crate) use predictor::{WindowLogits, check_window_length};
pub use task::{QaConfig, QaData, QaTask};
pub use training_questions::TrainingQuestions;
pub(crate) use window_batch::{
    WindowBatch, context_mask, fingerprint_windows, position_labels, question_mask, window_lengths,
};
