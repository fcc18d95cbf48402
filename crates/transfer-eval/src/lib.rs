#![doc = include_str!("../README.md")]

mod error;
mod files;
pub mod lama;
pub mod ner;
mod protocol;
pub mod retrieval;
mod seeds;
mod ties;
mod tokens;
pub mod xnli;

pub use error::{Error, Result};
pub use protocol::{Scores, mean};
pub use seeds::{SeedRun, SeedSummary, summarize_seeds};
pub use ties::Ties;
