//! Stand-ins for data that cannot be shipped: text, questions and search results made from the
//! embedded data folders.
//!
//! Each paper has a folder beside this one; its `main.rs` reads like the paper's method section.

pub mod cloze_questions;
pub mod corpus;
pub mod fact_source;
pub mod questions;
pub mod readings;
pub mod search;

/// The programs of the cookbook.
#[cfg(doctest)]
#[doc = include_str!("../../docs/cookbook.md")]
struct Cookbook;
