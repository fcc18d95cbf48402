//! The tables that an extract writes.
mod file;

use std::path::{Path, PathBuf};

use atomic_file::publish_all;

use super::config::ExtractReport;
use super::record::{NameTally, Record};
use super::requested::Requested;
use super::sort::SortedEntries;
use super::table::DumpTable;
use crate::{Error, Language, output};
use file::TableFile;

/// The tables of an extract, before they are renamed to their final names.
pub(super) struct Tables {
    folder: PathBuf,
    /// All tables except redirects, in the order of [`Record::rows`].
    entity_tables: Vec<TableFile>,
    redirects: Option<TableFile>,
    /// The requested languages, in the order of [`Record::names`].
    languages: Vec<Language>,
}

/// The action in errors about the sorted entries of an extract.
const ENTRIES: &str = "read the sorted entries in the folder";

impl Tables {
    /// Creates `tables`, which must be in the order of [`DumpTable::ALL`].
    pub(super) fn create(
        folder: &Path,
        tables: &[DumpTable],
        requested: &Requested,
    ) -> Result<Self, Error> {
        let create = |table: &DumpTable| TableFile::create(folder, *table, requested.lookup());
        let (redirects, entity_tables): (Vec<DumpTable>, Vec<DumpTable>) =
            tables.iter().partition(|table| **table == DumpTable::Redirects);
        Ok(Self {
            folder: folder.to_owned(),
            entity_tables: entity_tables.iter().map(create).collect::<Result<_, _>>()?,
            redirects: redirects.first().map(create).transpose()?,
            languages: requested.languages().collect(),
        })
    }

    pub(super) fn write_entities(
        &mut self,
        mut entities: SortedEntries,
        report: &mut ExtractReport,
    ) -> Result<(), Error> {
        let mut previous_id: Option<String> = None;
        while let Some(entry) = entities.next()? {
            if previous_id.as_ref() == Some(&entry.key) {
                report.repeated_entities += 1;
                continue;
            }
            let record = Record::from_entry(entry).map_err(Error::io(&self.folder, ENTRIES))?;
            self.write_record(&record, report)?;
            previous_id = Some(record.id);
        }
        Ok(())
    }

    fn write_record(&mut self, record: &Record, report: &mut ExtractReport) -> Result<(), Error> {
        report.counts.add(&record.counts);
        let count = if record.is_property { &mut report.properties } else { &mut report.items };
        *count += 1;
        // There are no names if the table of labels is not written.
        let has_names = !record.names.is_empty();
        assert!(!has_names || record.names.len() == self.languages.len(), "names per language");
        assert_eq!(record.rows.len(), self.entity_tables.len(), "rows per table");
        for (language, name) in self.languages.iter().zip(&record.names) {
            let counts = report.label_sources.entry(*language).or_default();
            match name {
                NameTally::Label(source) => counts.sources.add(*source),
                NameTally::UnusedMul => counts.unused_mul += 1,
                NameTally::Missing => (),
            }
        }
        let mut tables = self.entity_tables.iter_mut().zip(&record.rows);
        tables.try_for_each(|(table, rows)| table.write(rows))
    }

    pub(super) fn write_redirects(
        &mut self,
        mut redirects: SortedEntries,
        report: &mut ExtractReport,
    ) -> Result<(), Error> {
        let mut previous_id: Option<String> = None;
        while let Some(entry) = redirects.next()? {
            if previous_id.as_ref() != Some(&entry.key) {
                let [to] = entry.values.as_slice() else {
                    let damaged = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(Error::io(&self.folder, ENTRIES)(damaged));
                };
                report.redirects += 1;
                if let Some(table) = &mut self.redirects {
                    table.write(&format!("{}\t{to}\n", entry.key))?;
                }
            }
            previous_id = Some(entry.key);
        }
        Ok(())
    }

    /// Renames all files to their final names, `extract.json` last. The `extract.json` of an
    /// earlier extract is removed first, so that every folder with an `extract.json` is complete.
    pub(super) fn publish(self, report: &ExtractReport) -> Result<(), Error> {
        let path = self.folder.join("extract.json");
        let text = atomic_file::json::to_string_pretty(&path, report)?;
        let mut file = output::create(&path)?;
        file.write_all(format!("{text}\n").as_bytes())?;
        let file = file.sync()?;
        let tables = self.entity_tables.into_iter().chain(self.redirects).map(TableFile::sync);
        let tables = tables.collect::<Result<Vec<_>, _>>()?;
        if path.exists() {
            atomic_file::fs::remove_file(&path)?;
        }
        publish_all(tables)?;
        Ok(file.publish()?)
    }
}
