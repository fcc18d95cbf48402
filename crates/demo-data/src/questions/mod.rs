//! Reading items (SQuAD-style questions about a short text) made from triples by sentence
//! templates.
pub mod build;
mod context;
pub mod fact_questions;
pub mod item;
mod squad;
pub mod template;
