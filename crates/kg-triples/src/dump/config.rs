//! What is read of a dump, and what becomes of it.
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::counts::EntityCounts;
use super::source::Compression;
use super::table::{DumpTable, TableFormat, TailKind};
use crate::{Error, Language, each_once};

/// What is read of a Wikidata dump, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct ExtractConfig {
    /// Languages of texts, one or more, each once; case does not matter, but `zh` is not `zh-hans`.
    pub languages: Vec<Language>,
    /// Languages whose label or description takes the place of a missing one, the first that is
    /// there.
    pub fallback: Vec<(Language, Vec<Language>)>,
    /// The tables to write, one or more; nothing is read for others.
    pub tables: Vec<DumpTable>,
    /// How they are written.
    pub format: TableFormat,
    /// What entities may be tails, one kind or more.
    pub tails: Vec<TailKind>,
    /// Rows of each Parquet file but the last of a table, at least 1.
    pub part_rows: usize,
    /// Lines that may be unusable; one more is an error.
    pub bad_lines: u64,
    /// The longest line in bytes.
    pub longest_line: usize,
    /// Memory for sorting, in bytes; what does not fit lies in files below the output folder.
    pub memory: usize,
    /// Begin anew where an unfinished extract lies, instead of going on with it.
    pub restart: bool,
}

impl Default for ExtractConfig {
    fn default() -> Self {
        Self {
            languages: Vec::new(),
            fallback: Vec::new(),
            tables: TableFormat::Tsv.default_tables(),
            format: TableFormat::Tsv,
            tails: vec![TailKind::Item],
            part_rows: 1 << 20,
            bad_lines: 1000,
            longest_line: 256 << 20,
            memory: 512 << 20,
            restart: false,
        }
    }
}

impl ExtractConfig {
    /// # Errors
    /// [`Error::Config`] where a list is empty or names a language twice, or there is no Parquet.
    pub(super) fn check(&self) -> Result<(), Error> {
        each_once("languages", &self.languages)?;
        each_once("fallback", self.fallback.iter().map(|(code, _)| code))?;
        self.fallback.iter().try_for_each(|(_, others)| each_once("fallback", others))?;
        for (key, empty, rule) in [
            ("languages", self.languages.is_empty(), "one language or more"),
            ("tables", self.tables.is_empty(), "one table or more"),
            ("tails", self.tails.is_empty(), "one kind of entity or more"),
        ] {
            if empty {
                return Err(Error::Config { key, value: "[]".into(), rule });
            }
        }
        if self.format == TableFormat::Parquet && !cfg!(feature = "parquet") {
            let rule = "tsv: this program was built without Parquet; build it with `cargo build \
                        --release -p kg-triples --features parquet`";
            return Err(Error::Config { key: "format", value: "parquet".into(), rule });
        }
        Ok(())
    }

    /// The tables to write, in the order of [`DumpTable::ALL`], each once.
    pub(super) fn tables(&self) -> Vec<DumpTable> {
        DumpTable::ALL.into_iter().filter(|table| self.tables.contains(table)).collect()
    }

    /// The report before anything is read.
    pub(super) fn report(&self) -> ExtractReport {
        ExtractReport {
            languages: self.languages.clone(),
            table_format: self.format,
            tables: self.tables(),
            tails: self.tails.clone(),
            ..ExtractReport::default()
        }
    }
}

/// A line that could not be used.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct BadLine {
    /// Line, from 1.
    pub line: u64,
    /// Where it begins in the unpacked dump, in bytes.
    pub offset: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What a dump held, and what became of it; `extract.json`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
pub struct ExtractReport {
    /// How the dump is packed.
    pub compression: Compression,
    /// Packed bytes.
    pub packed_bytes: u64,
    /// SHA-256 of these.
    pub sha256: String,
    /// Unpacked bytes.
    pub bytes: u64,
    /// Lines, blank ones and brackets included.
    pub lines: u64,
    /// Languages of the texts.
    pub languages: Vec<Language>,
    /// How the tables are written.
    #[serde(default)]
    pub table_format: TableFormat,
    /// The tables that were written.
    #[serde(default)]
    pub tables: Vec<DumpTable>,
    /// What entities are tails.
    #[serde(default)]
    pub tails: Vec<TailKind>,
    /// Items.
    pub items: u64,
    /// Properties.
    pub properties: u64,
    /// Entities of other types, left out, by type.
    pub others: BTreeMap<String, u64>,
    /// Redirects, in `redirects.tsv`.
    pub redirects: u64,
    /// Entities that were there already; the first counts.
    pub repeated_entities: u64,
    /// Labels and statements of the items and properties.
    #[serde(flatten)]
    pub counts: EntityCounts,
    /// Lines that could not be used.
    pub bad_lines: u64,
    /// The first of them.
    pub first_bad_lines: Vec<BadLine>,
}
