//! Question files: reading, writing, joining and validation.
mod answer_position;
mod check;
mod dataset;
mod dataset_name;
pub(crate) mod fields;
mod group_keys;
mod language_check;
mod question_sources;
mod record;
pub(crate) mod rows;
pub mod squad;
mod training_file;

pub use check::{FileCheck, Finding, FindingKind, check_file};
pub use dataset::{Answer, Dataset, Question, pair_languages};
pub use dataset_name::{DatasetName, find_language_file, languages_in_name, list_dataset_names};
pub use language_check::{LanguageCounts, TextLanguage};
pub use question_sources::{QuestionSource, QuestionSources};
pub use training_file::{InvalidAction, InvalidQuestion, InvalidQuestions};
