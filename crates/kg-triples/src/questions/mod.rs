//! Reading items (SQuAD-style questions about a short text) made from triples by sentence
//! templates.
mod context;
mod fact_questions;
mod item;
mod parallel;
mod split;
mod squad;
mod template;

pub use fact_questions::{FactQuestions, FactReport};
pub use item::{
    Question, QuestionConfig, QuestionItem, QuestionReport, QuestionSet, build_questions,
};
pub use parallel::build_parallel_questions;
pub use split::{EntitySplit, SplitHeads};
pub use template::{Template, TemplateKind, TemplateSet};
