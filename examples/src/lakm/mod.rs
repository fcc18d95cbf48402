//! LAKM, language-agnostic knowledge phrase masking (Yuan et al. 2020, §3.2): passages in which phrases that queries and
//! result titles share are masked, so that a reader learns where such phrases begin and end.
//!
//! | step | where |
//! |---|---|
//! | queries and the titles and texts of their results | a user's search engine, or [`search`], the stand-in for one |
//! | phrases, and passages that hold them | [`kg_triples::phrases`] |
//! | passages as tokens, with the phrases' positions | [`kg_triples::phrases::encode_passages`] |
//! | masking and loss | [`LakmTask`] |
mod config;
mod search;
mod task;

pub use config::{LakmConfig, LakmMasking, LossPositions};
pub use search::{SearchConfig, search};
pub use task::LakmTask;
