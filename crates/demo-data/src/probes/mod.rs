//! Tests of what a model knows, made from the facts of a graph by sentence templates: clozes in
//! mLAMA's layout, and pairs of sentences in XNLI's.
pub mod cloze;
pub mod inference;
mod verbalised;
