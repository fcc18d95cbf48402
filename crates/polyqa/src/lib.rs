#![doc = include_str!("../README.md")]

mod answer;
mod calibration;
mod collection_search;
mod document;
mod earlier_readers;
mod embedding_file;
mod error;
mod first_pass;
mod no_answer;
mod passage;
mod precision;
pub mod program;
mod question_pairs;
mod reader;
#[cfg(feature = "serve")]
mod reading;
mod retriever;
mod retriever_files;
mod sentence;
mod temperature;

pub use answer::{Answer, Answers, Place, TruncatedQuestion};
pub use calibration::{AnsweredFile, Calibration};
pub use document::{Document, Documents};
pub use error::{Error, Result};
pub use first_pass::{DEFAULT_CANDIDATES, FirstPass, OtherLanguages, Ranking};
pub use no_answer::{NoAnswer, NoAnswerFit};
pub use precision::{PRECISION_VARIABLE, select_precision};
pub use reader::{Reader, with_long_questions};
pub use retriever::Retriever;

/// The programs of the guide "Use one crate".
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/use-one-crate.md")]
struct UseOneCrate;
