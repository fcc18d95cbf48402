//! Question files: reading, writing, joining and validation.
mod check;
mod dataset;
mod dataset_name;
mod language_check;
mod question_sources;
pub(crate) mod rows;
pub mod squad;

pub use check::{FileCheck, Finding, FindingKind, check_file};
pub use dataset::{Answer, Dataset, Question, pair_languages};
pub use dataset_name::{DatasetName, find_language_file, list_dataset_names};
pub use language_check::{LanguageCounts, TextLanguage};
pub use question_sources::{QuestionSource, QuestionSources};
