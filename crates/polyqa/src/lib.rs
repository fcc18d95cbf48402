#![doc = include_str!("../README.md")]

mod answer;
mod calibration;
mod collection_search;
mod default_reader;
mod document;
mod document_index;
mod earlier_readers;
mod embedding;
mod embedding_file;
mod error;
mod index_builder;
mod language_check;
mod no_answer;
mod passage;
mod precision;
pub mod program;
mod question_pairs;
mod reader;
mod retriever;
mod retriever_files;
mod search;
mod sentence;
#[cfg(feature = "serve")]
mod shared_batches;
mod temperature;

pub use answer::{Answer, Answers, Place, TruncatedQuestion};
pub use calibration::{AnsweredFile, Calibration};
pub use collection::{Passage, Query};
pub use collection_search::CollectionSearch;
pub use default_reader::{MODEL_VARIABLE, default_model};
pub use document::{Document, Documents};
pub use document_index::{DocumentIndex, OtherLanguages, Ranking};
pub use error::{Error, Result};
pub use no_answer::{NoAnswer, NoAnswerFit};
pub use passage::passage_ranges;
pub use precision::{PRECISION_VARIABLE, select_precision};
pub use reader::{Reader, Step, with_long_questions};
pub use retriever::Retriever;
pub use search::{Candidate, Candidates, DEFAULT_CANDIDATES, PassageSearch, Retrieval};

/// The programs of the guide "Use one crate".
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guides/use-one-crate.md")]
struct UseOneCrate;
