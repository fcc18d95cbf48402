//! Natural language inference across languages: files, pair inputs, accuracy.
mod encode;
mod read;
mod score;

pub use encode::{NliConfig, NliInput, encode_nli};
pub use read::{NliData, NliExample, NliLabel, parse_nli, read_nli};
pub use score::{LanguageAccuracy, NliScore, score_nli};
