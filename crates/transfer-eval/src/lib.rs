#![doc = include_str!("../README.md")]

mod error;
mod files;
pub mod ner;
mod tokens;

pub use error::{Error, Result};
