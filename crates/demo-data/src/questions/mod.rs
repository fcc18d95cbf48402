//! Reading items (SQuAD-style questions about a short text) made from triples by sentence
//! templates.
mod build;
mod context;
mod fact_questions;
mod item;
mod squad;
mod template;

pub use build::build_questions;
pub use fact_questions::FactQuestions;
pub use item::{Question, QuestionConfig, QuestionItem, QuestionReport, QuestionSet};
pub use template::{Template, TemplateKind, TemplateSet};
