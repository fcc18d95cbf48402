//! Mining of knowledge phrases from queries, and of passages that contain these phrases, for LAKM.
//!
//! LAKM (language-agnostic knowledge phrase masking) trains a model to predict masked knowledge
//! phrases (Yuan et al. 2020, *Enhancing Answer Boundary Detection for Multilingual Machine Reading
//! Comprehension*, §3.2).
//!
//! ```text
//! query, titles   all 2- to 4-grams   without stop words   in 70 % of titles   passages with one
//! and texts of  ───────────────────> ───────────────────> ──────────────────> ─────────────────>
//! its results     candidates                               knowledge phrases   all occurrences
//! ```
//!
//! ```
//! use kg_triples::Language;
//! use kg_triples::phrases::{Document, PhraseConfig, PhraseMiner, QueryDocuments, mine_passages};
//!
//! let document = |title: &str, text: &str| Document { title: title.into(), text: text.into() };
//! let record = QueryDocuments {
//!     query: "who founded the Bank of England".into(),
//!     language: Language::new("en")?,
//!     documents: vec![
//!         document("Bank of England", "The Bank of England opened in 1694.\nIt is in London."),
//!         document("The Bank of England: a history", ""),
//!     ],
//! };
//! let config = PhraseConfig { min_chars: 0, ..PhraseConfig::default() };
//! let miner = PhraseMiner::new(config)?;
//! let (passages, reports) = mine_passages([Ok(record)], &miner)?;
//! assert_eq!(passages.len(), 1);
//! assert_eq!(passages[0].phrases[0].phrase, "bank of england");
//! let at = passages[0].phrases[0].occurrences[0];
//! assert_eq!((at.start, at.end), (4, 19));
//! assert_eq!(reports[&Language::new("en")?].passages, 1);
//! # Ok::<(), kg_triples::Error>(())
//! ```
mod config;
mod draw;
mod encode;
mod mine;
mod passage;
mod report;
mod stop;
mod words;

pub use config::PhraseConfig;
pub use draw::draw_passages;
pub use encode::{PassageEncoder, PassageExample, SpecialIds, encode_passages};
pub use mine::{PhraseMiner, mine_passages};
pub use passage::{Document, PhraseOccurrences, PhrasePassage, QueryDocuments, TextSpan};
pub use report::PhraseReport;
pub use stop::StopWords;
pub use words::{Word, words};
