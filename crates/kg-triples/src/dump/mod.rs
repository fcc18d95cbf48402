//! Extraction of a knowledge graph's tables from Wikidata dumps, in one pass and bounded memory.
mod chunk;
mod clean;
mod config;
mod counts;
mod entity;
mod extract;
mod format;
mod json;
mod pass;
mod record;
mod requested;
mod sort;
mod source;
mod state;
mod table;
mod table_files;
mod texts;

#[cfg(test)]
mod tests;

pub use config::{ExtractConfig, ExtractReport, MulRule, NameCounts, TermLookup, TermOptions};
pub use extract::extract;
pub use source::{ExtractProgress, ExtractStart};
pub use state::has_unfinished_extract;
pub use table::DumpTable;
