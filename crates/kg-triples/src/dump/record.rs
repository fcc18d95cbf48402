//! The table rows of an entity, and their form in the files for sorting.
use std::fmt::{self, Write as _};
use std::io;

use super::config::TermLookup;
use super::counts::EntityCounts;
use super::entity::Entity;
use super::requested::{Requested, Term};
use super::sort::Entry;
use super::table::DumpTable;
use crate::{LabelKind, LabelSource};

/// The table rows of an entity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) is_property: bool,
    /// For each table of [`Requested::entity_tables`], in this order, the table lines of the
    /// entity.
    pub(super) rows: Vec<String>,
    /// For each requested language, in this order, the source of the entity's label. Empty if
    /// labels are not requested.
    pub(super) names: Vec<NameTally>,
    pub(super) counts: EntityCounts,
}

/// The source of an entity's label in a requested language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameTally {
    Label(LabelSource),
    /// The entity has no label, although it has one in `mul`.
    UnusedMul,
    Missing,
}

impl NameTally {
    /// Returns the character that represents the value in entries for sorting.
    fn to_char(self) -> char {
        match self {
            Self::Label(LabelSource::Language) => 'l',
            Self::Label(LabelSource::Variant) => 'v',
            Self::Label(LabelSource::Fallback) => 'f',
            Self::Label(LabelSource::Mul) => 'm',
            Self::UnusedMul => 'u',
            Self::Missing => '-',
        }
    }

    fn from_char(c: char) -> io::Result<Self> {
        Ok(match c {
            'l' => Self::Label(LabelSource::Language),
            'v' => Self::Label(LabelSource::Variant),
            'f' => Self::Label(LabelSource::Fallback),
            'm' => Self::Label(LabelSource::Mul),
            'u' => Self::UnusedMul,
            '-' => Self::Missing,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }
}

impl Record {
    /// Converts an entity to its rows of the requested tables and its counts.
    pub(super) fn new(entity: Entity, requested: &Requested) -> Self {
        let lookup = requested.lookup();
        let rows =
            requested.entity_tables().map(|table| format_rows(&entity, table, lookup)).collect();
        let Entity { id, kind, counts, names, .. } = entity;
        Self { id, is_property: kind == LabelKind::Relation, rows, names, counts }
    }

    /// Converts the record to an entry for sorting.
    #[expect(clippy::expect_used, reason = "counts have a JSON form")]
    pub(super) fn into_entry(self, number: u64) -> Entry {
        let kind = if self.is_property { "property" } else { "item" };
        let names = self.names.into_iter().map(NameTally::to_char).collect();
        let counts = serde_json::to_string(&self.counts).expect("the keys of counts are text");
        let mut values = vec![kind.to_owned(), counts, names];
        values.extend(self.rows);
        Entry { key: self.id, number, values }
    }

    /// Restores the record from [`Record::into_entry`].
    pub(super) fn from_entry(entry: Entry) -> io::Result<Self> {
        let mut values = entry.values.into_iter();
        let (Some(kind), Some(counts), Some(names)) = (values.next(), values.next(), values.next())
        else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (is_property, counts) = (kind == "property", serde_json::from_str(&counts)?);
        let names = names.chars().map(NameTally::from_char).collect::<io::Result<_>>()?;
        Ok(Self { id: entry.key, is_property, rows: values.collect(), names, counts })
    }
}

/// Formats the lines of an entity for one table.
fn format_rows(entity: &Entity, table: DumpTable, lookup: TermLookup) -> String {
    let id = &entity.id;
    let mut rows = String::new();
    let mut push = |row: fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = rows.write_fmt(row);
    };
    match table {
        DumpTable::Triples => {
            for (relation, tail) in &entity.triples {
                push(format_args!("{id}\t{relation}\t{tail}\n"));
            }
        }
        DumpTable::Labels => {
            let kind = entity.kind.name();
            for Term { language, text, source } in &entity.labels {
                match lookup {
                    TermLookup::Exact => push(format_args!("{id}\t{language}\t{text}\t{kind}\n")),
                    TermLookup::Wikidata => {
                        let source = source.name();
                        push(format_args!("{id}\t{language}\t{text}\t{kind}\t{source}\n"));
                    }
                }
            }
        }
        DumpTable::Descriptions => {
            for Term { language, text, .. } in &entity.descriptions {
                push(format_args!("{id}\t{language}\t{text}\n"));
            }
        }
        DumpTable::Aliases => {
            let kind = entity.kind.name();
            for Term { language, text, source } in &entity.aliases {
                let source = source.name();
                push(format_args!("{id}\t{language}\t{text}\t{kind}\t{source}\n"));
            }
        }
        DumpTable::Sitelinks => {
            for (language, title) in &entity.sitelinks {
                push(format_args!("{id}\t{language}\t{title}\n"));
            }
        }
        DumpTable::Redirects => (),
    }
    rows
}
