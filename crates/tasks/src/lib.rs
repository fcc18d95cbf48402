#![doc = include_str!("../README.md")]

pub mod batch;
mod encoder;
mod error;
pub mod pooling;

pub use encoder::Encoder;
pub use error::{Error, Result};
