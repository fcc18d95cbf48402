//! Row-by-row reading of a graph's table, as TSV or Parquet.
use std::path::{Path, PathBuf};

use crate::Error;
#[cfg(feature = "parquet")]
use crate::parquet_rows::ParquetRows;
use crate::tsv::TsvReader;

/// Reads the rows of a table.
pub(crate) enum TableReader {
    Tsv(TsvReader),
    #[cfg(feature = "parquet")]
    Parquet(ParquetRows),
}

impl TableReader {
    /// Opens the file `path`, such as `labels.tsv`, with one of these headers. Without this file,
    /// opens the folder of Parquet files next to it, such as `labels`, with the columns of the
    /// first header. `path` may also be that folder. Also returns the header's index.
    pub(crate) fn open(
        path: &Path,
        headers: &[&'static [&'static str]],
    ) -> Result<(Self, usize), Error> {
        let parts = path.with_extension("");
        let columns = headers.first().copied().unwrap_or_default();
        match (path.is_dir(), !path.exists() && parts.is_dir()) {
            (true, _) => return Ok((Self::parquet(path, columns)?, 0)),
            (_, true) => return Ok((Self::parquet(&parts, columns)?, 0)),
            _ => (),
        }
        let (reader, which) = TsvReader::open(path, headers)?;
        Ok((Self::Tsv(reader), which))
    }

    /// Whether [`TableReader::open`] finds a file or folder.
    pub(crate) fn exists(path: &Path) -> bool {
        path.exists() || path.with_extension("").is_dir()
    }

    #[cfg(feature = "parquet")]
    fn parquet(folder: &Path, columns: &'static [&'static str]) -> Result<Self, Error> {
        ParquetRows::open(folder, columns).map(Self::Parquet)
    }

    #[cfg(not(feature = "parquet"))]
    fn parquet(folder: &Path, _: &'static [&'static str]) -> Result<Self, Error> {
        let reason = "this program was built without Parquet; build it with `--features \
                      kg-triples/parquet`, or give tables as TSV";
        Err(Error::Parquet { path: folder.to_owned(), reason: reason.into() })
    }

    /// Returns the cells of the next row, one per column of the header.
    pub(crate) fn row(&mut self) -> Result<Option<Vec<&str>>, Error> {
        match self {
            Self::Tsv(reader) => reader.row(),
            #[cfg(feature = "parquet")]
            Self::Parquet(reader) => reader.row(),
        }
    }

    /// Position of the last row: the file and the line or row, from 1.
    pub(crate) fn position(&self) -> (PathBuf, u64) {
        match self {
            Self::Tsv(reader) => reader.position(),
            #[cfg(feature = "parquet")]
            Self::Parquet(reader) => reader.position(),
        }
    }
}

/// Passes every row of a table to `take`, in order. Rejected values are errors with file, line and
/// column. Returns the index of the header in `headers`.
pub(crate) fn each_row(
    path: &Path,
    headers: &[&'static [&'static str]],
    mut take: impl FnMut(&[&str]) -> Result<(), Error>,
) -> Result<usize, Error> {
    let (mut reader, which) = TableReader::open(path, headers)?;
    while let Some(row) = reader.row()? {
        match take(&row) {
            Err(Error::Value { field: column, expected, got }) => {
                let (path, line) = reader.position();
                return Err(Error::Row { path, line, column, expected, got });
            }
            taken => taken?,
        }
    }
    Ok(which)
}
