//! Cross-lingual natural language inference: files, pair inputs, accuracy.
mod encode;
mod read;
mod score;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)] // helpers of tests
mod tests;

pub use encode::{NliConfig, NliInput, encode_nli};
pub use read::{NliData, NliExample, NliLabel, read_nli};
pub use score::{LanguageAccuracy, NliScore, score_nli};
