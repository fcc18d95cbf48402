//! The tables that an extract writes.
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::chunk::Record;
use super::entity::Wanted;
use super::extract::ExtractReport;
use super::merge;
use super::sort::{Entry, Sorted};
use crate::{KgError, output};

/// The files of an extract, before they have their names.
pub(super) struct Tables {
    folder: PathBuf,
    triples: Table,
    labels: Table,
    redirects: Table,
}

struct Table {
    path: PathBuf,
    file: io::BufWriter<whole_file::WholeFile>,
}

impl Table {
    fn create(path: PathBuf, header: &str) -> Result<Self, KgError> {
        let file = io::BufWriter::with_capacity(1 << 18, output::create(&path)?);
        let mut table = Self { path, file };
        table.write(header)?;
        Ok(table)
    }

    fn write(&mut self, text: &str) -> Result<(), KgError> {
        let written = self.file.write_all(text.as_bytes());
        written.map_err(KgError::io(&self.path, "write the file"))
    }

    fn sync(self) -> Result<whole_file::Synced, KgError> {
        let refuse = KgError::io(&self.path, "write the file");
        output::sync(self.file.into_inner().map_err(|error| refuse(error.into_error()))?)
    }
}

impl Tables {
    pub(super) fn create(folder: &Path) -> Result<Self, KgError> {
        let table = |name: &str, header| Table::create(folder.join(name), header);
        Ok(Self {
            folder: folder.to_owned(),
            triples: table("triples.tsv", "head_id\trelation_id\ttail_id\n")?,
            labels: table("labels.tsv", "id\tlang\tlabel\tkind\n")?,
            redirects: table("redirects.tsv", "id\ttarget_id\n")?,
        })
    }

    pub(super) fn write_entities(
        &mut self,
        mut entities: Sorted,
        report: &mut ExtractReport,
    ) -> Result<(), KgError> {
        let folder = self.folder.clone();
        let refuse = || KgError::io(&folder, "read the folder");
        let mut last: Option<String> = None;
        while let Some(entry) = entities.next().map_err(refuse())? {
            if last.as_ref() == Some(&entry.key) {
                report.repeated_entities += 1;
                continue;
            }
            let Entry { key, values, .. } = entry;
            if let Ok([labels, triples, counts, kind]) = <[String; 4]>::try_from(values) {
                let counts =
                    serde_json::from_str(&counts).map_err(|error| refuse()(error.into()))?;
                let (id, property) = (key.clone(), kind == "property");
                self.write_record(&Record { id, property, labels, triples, counts }, report)?;
            }
            last = Some(key);
        }
        Ok(())
    }

    /// Entities whose facts may stand apart in the dump.
    pub(super) fn write_merged(
        &mut self,
        mut facts: Sorted,
        wanted: &Wanted,
        report: &mut ExtractReport,
    ) -> Result<(), KgError> {
        let mut of_entity: Vec<Entry> = Vec::new();
        loop {
            let next = facts.next().map_err(KgError::io(&self.folder, "read the folder"))?;
            let same = |last: &Entry| next.as_ref().is_some_and(|next| next.key == last.key);
            if of_entity.last().is_some_and(|last| !same(last)) {
                let record = merge::merge(&of_entity, wanted);
                let record = record.map_err(KgError::io(&self.folder, "read the folder"))?;
                self.write_record(&record, report)?;
                of_entity.clear();
            }
            match next {
                Some(next) => of_entity.push(next),
                None => return Ok(()),
            }
        }
    }

    fn write_record(&mut self, record: &Record, report: &mut ExtractReport) -> Result<(), KgError> {
        report.counts.add(&record.counts);
        let of_kind = if record.property { &mut report.properties } else { &mut report.items };
        *of_kind += 1;
        self.labels.write(&record.labels)?;
        self.triples.write(&record.triples)
    }

    pub(super) fn write_redirects(
        &mut self,
        mut redirects: Sorted,
        report: &mut ExtractReport,
    ) -> Result<(), KgError> {
        let refuse = || KgError::io(&self.folder, "read the folder");
        let mut last: Option<String> = None;
        while let Some(entry) = redirects.next().map_err(refuse())? {
            if last.as_ref() != Some(&entry.key)
                && let [to] = entry.values.as_slice()
            {
                report.redirects += 1;
                self.redirects.write(&format!("{}\t{to}\n", entry.key))?;
            }
            last = Some(entry.key);
        }
        Ok(())
    }

    /// Gives all files their names, `extract.json` last.
    pub(super) fn publish(self, report: &ExtractReport) -> Result<(), KgError> {
        let path = self.folder.join("extract.json");
        let refuse = || KgError::io(&path, "write the file");
        let text = serde_json::to_string_pretty(report).map_err(|error| refuse()(error.into()))?;
        let mut file = output::create(&path)?;
        file.write_all(format!("{text}\n").as_bytes()).map_err(refuse())?;
        let tables = [self.triples.sync()?, self.labels.sync()?, self.redirects.sync()?];
        output::publish(tables.into_iter().chain([output::sync(file)?]))
    }
}
