#![doc = include_str!("../README.md")]

pub mod batch;
pub mod cloze_ranking;
mod encoder;
mod error;
mod inference;
pub mod knowledge;
pub mod masked_lm;
pub mod pooling;
pub mod sequence_classification;
pub mod token_classification;

pub use encoder::Encoder;
pub use error::{Error, Result};

#[cfg(test)]
mod testing;
