#![doc = include_str!("../README.md")]

pub mod alignment;
pub mod batch;
mod encoder;
mod error;
pub mod label_retrieval;
pub mod pooling;
pub mod question_answering;
#[cfg(test)]
mod testing;
pub mod two_stage;
pub mod word_embeddings;

pub use encoder::Encoder;
pub use error::{Error, Result};
