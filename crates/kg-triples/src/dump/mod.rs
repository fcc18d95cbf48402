//! Wikidata's dumps: read once, in bounded memory, to the tables of a knowledge graph.
pub mod bzip2;
mod chunk;
mod entity;
mod extract;
mod json;
mod merge;
mod ntriples;
mod reading;
mod sort;
mod source;
mod state;
mod statement;
mod tables;
mod text;

pub use entity::EntityCounts;
pub use extract::{BadLine, ExtractConfig, ExtractReport, extract};
pub use source::{Compression, DumpFormat, Progress};
