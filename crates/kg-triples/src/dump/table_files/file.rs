//! A table file that is not complete yet.
use std::path::Path;

use atomic_file::{AtomicFile, SyncedFile};

use crate::dump::config::TermLookup;
use crate::dump::table::DumpTable;
use crate::{Error, output};

/// A table that is written to a temporary file.
pub(super) struct TableFile(AtomicFile);

impl TableFile {
    pub(super) fn create(
        folder: &Path,
        table: DumpTable,
        lookup: TermLookup,
    ) -> Result<Self, Error> {
        let file = output::create(&folder.join(format!("{}.tsv", table.name())))?;
        let mut table_file = Self(file);
        table_file.write(&format!("{}\n", table.columns(lookup).join("\t")))?;
        Ok(table_file)
    }

    /// Appends lines with tab-separated cells.
    pub(super) fn write(&mut self, rows: &str) -> Result<(), Error> {
        Ok(self.0.write_all(rows.as_bytes())?)
    }

    /// Syncs the table to disk.
    pub(super) fn sync(self) -> Result<SyncedFile, Error> {
        Ok(self.0.sync()?)
    }
}
