//! What the recipes share: reading a recipe, the machine, the tasks that turn data into losses, and evaluation.
//!
//! Each paper has a folder beside this one; its `main.rs` reads like the paper's method section.

pub mod cli;
pub mod cloze;
pub mod cloze_questions;
pub mod corpus;
pub mod fingerprint;
pub mod folder;
pub mod inputs;
pub mod machine;
pub mod mimetic;
pub mod questions;
pub mod recipe;
pub mod results;
pub mod search;
pub mod vocabulary;

#[cfg(test)]
mod testing;
