//! The rows of a Parquet file as JSON objects.
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use parquet::record::reader::{ReaderIter, TreeBuilder};
use serde_json::{Map, Value};

use crate::line::MAX_LINE_BYTES;
use crate::parquet_value::{child, to_json};

/// Maximum number of characters of an error message.
const MAX_ERROR_CHARS: usize = 200;

/// A sequential reader of the rows, with a few pages of each column in memory.
pub(crate) struct ParquetRows {
    file: SerializedFileReader<File>,
    /// Index of the next row group.
    next_group: usize,
    /// The remaining rows of the current group.
    rows: Option<ReaderIter>,
}

impl ParquetRows {
    /// Opens a file at its first row.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let file = catch_panics(|| SerializedFileReader::new(file))?;
        Ok(Self { file, next_group: 0, rows: None })
    }

    /// Appends the next row to `line` as a JSON object and a line end; returns `false` at the end
    /// of the file.
    ///
    /// Members are sorted by name. Binary columns are skipped. For other types that JSON lacks, see
    /// [`parquet_value`](crate::parquet_value).
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> Result<bool, String> {
        let Some(row) = catch_panics(|| self.next_row())? else { return Ok(false) };
        let columns =
            || row.get_column_iter().filter(|(_, value)| !matches!(value, Field::Bytes(_)));
        let schema = self.file.metadata().file_metadata().schema();
        let to_member = |(name, value): (&String, &Field)| {
            let value = to_json(value, child(Some(schema), name));
            Ok((name.clone(), value.map_err(ParquetError::General)?))
        };
        let row: Map<String, Value> = catch_panics(|| columns().map(to_member).collect())?;
        serde_json::to_writer(&mut *line, &row).map_err(|error| error.to_string())?;
        line.push(b'\n');
        Ok(true)
    }

    /// Moves to the position after the first `count` rows of the file; returns `false` if the file
    /// has fewer rows. Skipped row groups are not read.
    pub(crate) fn seek(&mut self, mut count: u64) -> Result<bool, String> {
        (self.next_group, self.rows) = (0, None);
        let groups = self.file.metadata().row_groups();
        for group_rows in groups.iter().map(RowGroupMetaData::num_rows) {
            let group_rows = u64::try_from(group_rows).map_err(|_| {
                format!("row group {}: {group_rows} rows, the file is damaged", self.next_group)
            })?;
            match count.checked_sub(group_rows) {
                Some(remaining) => count = remaining,
                None => break,
            }
            self.next_group += 1;
        }
        for _ in 0..count {
            if catch_panics(|| self.next_row())?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next_row(&mut self) -> Result<Option<parquet::record::Row>, ParquetError> {
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                return row.map(Some);
            }
            if self.next_group >= self.file.num_row_groups() {
                self.rows = None;
                return Ok(None);
            }
            let group = self.file.get_row_group(self.next_group)?;
            group.metadata().columns().iter().try_for_each(check_column_size)?;
            let schema = self.file.metadata().file_metadata().schema_descr_ptr();
            self.rows = Some(TreeBuilder::new().as_iter(schema, group.as_ref())?);
            self.next_group += 1;
        }
    }
}

/// Rejects a column of more than [`MAX_LINE_BYTES`] bytes if its values have more than
/// [`MAX_LINE_BYTES`] bytes on average, or if its compression ratio is more than 1000.
///
/// The limits bound memory use, because each page is decompressed into memory at once.
fn check_column_size(column: &ColumnChunkMetaData) -> Result<(), ParquetError> {
    let (uncompressed, compressed) = (column.uncompressed_size(), column.compressed_size());
    let max_bytes = MAX_LINE_BYTES as i64;
    let bytes_per_value = uncompressed / column.num_values().max(1);
    if uncompressed <= max_bytes
        || (bytes_per_value <= max_bytes && uncompressed / 1000 <= compressed)
    {
        return Ok(());
    }
    let (name, values) = (column.column_path().string(), column.num_values());
    Err(ParquetError::General(format!(
        "column {name}: {compressed} bytes decompress to {uncompressed} bytes for {values} values; \
         expected at most {max_bytes} bytes per value and a compression ratio of at most 1000"
    )))
}

/// Calls `read` and converts panics to errors. The Parquet reader panics on some damaged files and
/// on column types that JSON cannot represent.
fn catch_panics<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| describe(&error)),
        Err(_) => {
            Err("the file is damaged, or a column has a type that JSON cannot represent".into())
        }
    }
}

/// Describes an error. Messages are truncated, because some of them contain a complete value.
fn describe(error: &ParquetError) -> String {
    let message = error.to_string();
    if let Some((_, codec)) = message.split_once("Disabled feature at compile time: ") {
        return format!(
            "the file is compressed with {codec}, which is not supported; write it with zstd, snappy, \
             gzip or lz4"
        );
    }
    message.chars().take(MAX_ERROR_CHARS).collect()
}
