//! SQuAD-style questions about short contexts, generated from triples with sentence templates.
pub mod build;
mod context;
pub mod fact_questions;
pub mod item;
mod squad;
pub mod template;
