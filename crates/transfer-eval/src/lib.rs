#![doc = include_str!("../README.md")]

mod error;
mod files;
pub mod lama;
pub mod names;
pub mod ner;
pub mod retrieval;
mod ties;
mod tokens;
pub mod xnli;

pub use error::{Error, Result};
pub use ties::Ties;
