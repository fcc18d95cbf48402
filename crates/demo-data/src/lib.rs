//! Stand-ins for data that cannot be shipped: questions, inference pairs, clozes and search results
//! made from the embedded data. What is synthetic stands in the help of each command. No library
//! and no recipe depends on this crate: they read the folders that its program prepares.
// Docs of arguments are texts of --help, where <lang> is no tag.
#![allow(rustdoc::invalid_html_tags)]
mod cloze_questions;
mod corpus;
mod facts;
mod search;
mod seed;
mod split;
mod stand_in;
mod xquad;

pub mod probes;
pub mod questions;

pub use cloze_questions::ClozeQuestions;
pub use corpus::CorpusConfig;
pub use facts::Facts;
pub use search::Search;
pub use split::{EntitySplit, SplitHeads};
pub use stand_in::{Files, StandIn};
pub use xquad::XquadSplit;
