//! Tests of what a model knows, made from the facts of a graph by sentence templates: clozes in
//! mLAMA's layout, and pairs of sentences in XNLI's.
mod cloze;
mod inference;
mod verbalised;

pub use cloze::{ClozeReport, Clozes, clozes};
pub use inference::{Inference, InferenceConfig, InferenceReport, Pairs, inference_pairs};
