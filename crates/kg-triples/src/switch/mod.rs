//! Code-switched text: sentences in which mentions are replaced by labels in another language.
//!
//! Reimplements the construction of the EntityCS corpus (huawei-noah/noah-research,
//! `NLP/EntityCS/wiki_cs_corpus`) for any text with linked mentions and any labels:
//!
//! 1. A text is split into sentences. Sentences of more than 128 words are skipped.
//! 2. Mentions of entities without a label in any language are ignored; their text is unchanged.
//! 3. The possible languages of a sentence are those in which all remaining mentions have a label
//!    ([`LanguageRule::Shared`]). They include the languages of the [pool](SwitchConfig::pool). At
//!    most five languages are drawn uniformly.
//! 4. For each drawn language outside the pool, a switched sentence is created, in which all
//!    remaining mentions are replaced by labels in this language. Inflection is not adapted.
//!
//! Draws depend only on the seed and the index of the sentence, so the result does not depend on
//! the number of threads.
//!
//! ```
//! use kg_triples::Language;
//! use kg_triples::entity_linking::LinkedText;
//! use kg_triples::switch::{EntityLabels, SwitchConfig, switch_sentence};
//!
//! let sentence: LinkedText = serde_json::from_str(
//!     r#"{"id": "7", "lang": "en", "text": "Munich is a city.",
//!         "mentions": [{"start": 0, "end": 6, "entity": "Q1726"}]}"#,
//! )?;
//! let mut labels = EntityLabels::default();
//! labels.add("Q1726", Language::DE, "München");
//! let config = SwitchConfig { languages: vec![Language::DE], ..SwitchConfig::default() };
//! let switched = switch_sentence(&sentence, 0, &labels, &config);
//! assert_eq!(switched[0].text.text, "München is a city.");
//! # Ok::<(), serde_json::Error>(())
//! ```
mod build;
mod config;
mod labels;
mod sentence;
mod stream;
mod tagged;

pub use build::{SwitchedText, switch_sentence};
pub use config::{LanguageRule, SwitchConfig};
pub use labels::{EntityLabels, LabelPair};
pub use sentence::sentences;
pub use stream::{SwitchReport, switch_texts};
pub use tagged::{TaggedPair, TaggedReader};
