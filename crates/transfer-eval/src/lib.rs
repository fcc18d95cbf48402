#![doc = include_str!("../README.md")]

mod error;
mod files;
pub mod lama;
pub mod names;
pub mod ner;
pub mod oie;
pub mod relations;
pub mod retrieval;
mod tokens;
pub mod xnli;

pub use error::{Error, Result};
