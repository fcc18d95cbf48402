#![doc = include_str!("../README.md")]

mod controls;
mod error;
mod folder;
mod graph;
mod input;
mod label_source;
mod output;
mod seed;
mod table;
mod texts;
mod tokens;
mod tsv;
mod unique_languages;
mod wikidata;

pub mod dump;
pub mod entity_linking;
pub mod jsonl;
pub mod knowledge;
pub mod matching;
pub mod names;
pub mod phrases;
pub mod sample;
pub mod sequence;
pub mod switch;

pub use controls::Control;
pub use error::Error;
pub use graph::{GraphBuilder, KnowledgeGraph, LabelKind, Triple};
pub use label_source::{LabelSource, LabelSourceCounts, LabelSourcesByLanguage};
pub use language::Language;
pub use sample::{Coverage, SampleConfig, SampleReport, sample, sample_folder};
pub use sequence::{
    BuildReport, IGNORE_INDEX, MaskedEntity, Sequence, SequenceConfig, SequenceKind,
    build_sequences,
};
pub use table::for_each_alias;
pub use unique_languages::check_unique_languages;
