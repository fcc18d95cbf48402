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

use crate::shards::MAX_LINE_BYTES;

/// Maximum number of characters of an error message.
const MAX_ERROR_CHARS: usize = 200;

/// Reads rows in order, with a few pages of each column in memory at a time.
pub(crate) struct ParquetRows {
    file: SerializedFileReader<File>,
    /// Index of the next row group.
    group: usize,
    /// The remaining rows of the current group.
    rows: Option<ReaderIter>,
}

impl ParquetRows {
    /// Opens a file before its first row.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let file = File::open(path).map_err(|error| error.to_string())?;
        let file = guarded(|| SerializedFileReader::new(file))?;
        Ok(Self { file, group: 0, rows: None })
    }

    /// Appends the next row to `line` as a JSON object, members sorted by name, and a line end;
    /// `false` at the end of the file. Binary columns are skipped, because JSON cannot represent
    /// them.
    pub(crate) fn read(&mut self, line: &mut Vec<u8>) -> Result<bool, String> {
        let Some(row) = guarded(|| self.next())? else { return Ok(false) };
        let known = || row.get_column_iter().filter(|(_, value)| !matches!(value, Field::Bytes(_)));
        let member = |(name, value): (&String, &Field)| (name.clone(), value.to_json_value());
        let row: Map<String, Value> = guarded(|| Ok(known().map(member).collect()))?;
        serde_json::to_writer(&mut *line, &row).map_err(|error| error.to_string())?;
        line.push(b'\n');
        Ok(true)
    }

    /// Skips to the position after `rows` rows; `false` if the file has fewer rows. Skipped row
    /// groups are not read.
    pub(crate) fn skip(&mut self, mut rows: u64) -> Result<bool, String> {
        (self.group, self.rows) = (0, None);
        let groups = self.file.metadata().row_groups();
        for held in groups.iter().map(RowGroupMetaData::num_rows) {
            match rows.checked_sub(u64::try_from(held).unwrap_or(0)) {
                Some(rest) => rows = rest,
                None => break,
            }
            self.group += 1;
        }
        for _ in 0..rows {
            if guarded(|| self.next())?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn next(&mut self) -> Result<Option<parquet::record::Row>, ParquetError> {
        loop {
            if let Some(row) = self.rows.as_mut().and_then(Iterator::next) {
                return row.map(Some);
            }
            if self.group >= self.file.num_row_groups() {
                self.rows = None;
                return Ok(None);
            }
            let group = self.file.get_row_group(self.group)?;
            group.metadata().columns().iter().try_for_each(check_bounded)?;
            let schema = self.file.metadata().file_metadata().schema_descr_ptr();
            self.rows = Some(TreeBuilder::new().as_iter(schema, group.as_ref())?);
            self.group += 1;
        }
    }
}

/// Rejects a column with values longer than the maximum line, or more than a thousand times larger
/// than its compressed size, because a whole page is decompressed into memory at once.
///
/// # Errors
/// [`ParquetError::General`] naming the column.
pub fn check_bounded(column: &ColumnChunkMetaData) -> Result<(), ParquetError> {
    let (unpacked, packed) = (column.uncompressed_size(), column.compressed_size());
    let longest = i64::try_from(MAX_LINE_BYTES).unwrap_or(i64::MAX);
    let per_value = unpacked / column.num_values().max(1);
    if unpacked <= longest || (per_value <= longest && unpacked / 1000 <= packed) {
        return Ok(());
    }
    let (name, values) = (column.column_path().string(), column.num_values());
    Err(ParquetError::General(format!(
        "column {name}: {packed} bytes unpack to {unpacked} for {values} values; read are values of \
         at most {longest} bytes that take a thousandth of that packed"
    )))
}

/// Calls `read` and converts panics to errors. The reader panics on some damaged files, and on
/// column types that JSON cannot represent.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(read)) {
        // Some messages contain a whole value.
        Ok(read) => read.map_err(|error| error.to_string().chars().take(MAX_ERROR_CHARS).collect()),
        Err(_) => Err("it is damaged, or a column has a type that JSON does not know".into()),
    }
}
