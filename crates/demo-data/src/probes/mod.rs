//! Evaluation data generated from the facts of a graph with sentence templates: clozes in mLAMA's
//! layout and sentence pairs in XNLI's layout.
pub mod cloze;
pub mod inference;
mod verbalised;
