//! A table being written, as TSV or Parquet.
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use atomic_file::{AtomicFile, Synced};

#[cfg(feature = "parquet")]
use super::parquet::Parts;
use crate::dump::table::DumpTable;
use crate::{Error, output};

/// A table that is being written to a temporary file or folder.
pub(super) enum TableFile {
    Tsv(DumpTable, AtomicFile),
    #[cfg(feature = "parquet")]
    Parquet(DumpTable, Parts),
}

impl TableFile {
    pub(super) fn tsv(folder: &Path, table: DumpTable) -> Result<Self, Error> {
        let file = output::create(&folder.join(format!("{}.tsv", table.name())))?;
        let mut started = Self::Tsv(table, file);
        started.write(&format!("{}\n", table.columns().join("\t")))?;
        Ok(started)
    }

    #[cfg(feature = "parquet")]
    pub(super) fn parquet(
        folder: &Path,
        table: DumpTable,
        part_rows: usize,
    ) -> Result<Self, Error> {
        Ok(Self::Parquet(table, Parts::create(folder, table.columns(), part_rows)?))
    }

    #[cfg(not(feature = "parquet"))]
    pub(super) fn parquet(folder: &Path, _: DumpTable, _: usize) -> Result<Self, Error> {
        Err(Error::io(folder, "write Parquet")(ErrorKind::Unsupported.into()))
    }

    /// Appends lines with tab-separated cells.
    pub(super) fn write(&mut self, rows: &str) -> Result<(), Error> {
        match self {
            Self::Tsv(_, file) => file
                .write_all(rows.as_bytes())
                .map_err(|error| Error::io(file.path(), "write the file")(error)),
            #[cfg(feature = "parquet")]
            Self::Parquet(_, parts) => parts.write(rows),
        }
    }

    /// Syncs the table to disk.
    pub(super) fn sync(self) -> Result<SyncedTable, Error> {
        Ok(match self {
            Self::Tsv(table, file) => SyncedTable { table, form: Form::Tsv(output::sync(file)?) },
            #[cfg(feature = "parquet")]
            Self::Parquet(table, parts) => {
                SyncedTable { table, form: Form::Parquet(parts.sync()?) }
            }
        })
    }
}

/// A complete table that still has its temporary name.
pub(super) struct SyncedTable {
    table: DumpTable,
    form: Form,
}

enum Form {
    Tsv(Synced),
    #[cfg(feature = "parquet")]
    Parquet(tempfile::TempDir),
}

impl SyncedTable {
    /// Renames the table to its final name in `folder`, and removes an earlier table in either
    /// format.
    pub(super) fn publish(self, folder: &Path) -> Result<(), Error> {
        let parts = folder.join(self.table.name());
        remove_parts(&parts)?;
        match self.form {
            Form::Tsv(file) => output::publish([file]),
            #[cfg(feature = "parquet")]
            Form::Parquet(written) => {
                let tsv = folder.join(format!("{}.tsv", self.table.name()));
                if tsv.exists() {
                    std::fs::remove_file(&tsv).map_err(Error::io(&tsv, "replace the file"))?;
                }
                let refuse = || Error::io(&parts, "move the finished folder to its name");
                std::fs::rename(written.path(), &parts).map_err(refuse())?;
                // The folder was renamed, so its destructor must not remove the old path.
                drop(written.keep());
                Ok(())
            }
        }
    }
}

/// Removes the folder of an earlier table. A folder with other files is an error.
fn remove_parts(folder: &Path) -> Result<(), Error> {
    let refuse = || Error::io(folder, "replace the folder");
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(refuse()(error)),
    };
    for entry in entries {
        let name = entry.map_err(refuse())?.file_name();
        let name = name.to_string_lossy();
        if !(name.starts_with("part-") && name.ends_with(".parquet")) {
            let error = format!("it holds {name}, which is no part of a table");
            return Err(refuse()(io::Error::new(ErrorKind::AlreadyExists, error)));
        }
    }
    std::fs::remove_dir_all(folder).map_err(refuse())
}
