//! Row-by-row reading of the Parquet files of a folder.
use std::fs::File;
use std::path::{Path, PathBuf};

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};

use crate::Error;

/// Reads the files `*.parquet` of a folder in the order of their names.
pub(crate) struct ParquetRows {
    columns: &'static [&'static str],
    /// The remaining files in reverse order.
    paths: Vec<PathBuf>,
    path: PathBuf,
    part: Option<SerializedFileReader<File>>,
    /// Index of each column in the file.
    places: Vec<usize>,
    /// The next row group of the file.
    group: usize,
    /// The cells of the current row group, by column.
    cells: Vec<Vec<ByteArray>>,
    /// The next row of the row group.
    at: usize,
    /// Rows of the file returned so far.
    row: u64,
}

impl ParquetRows {
    /// Opens the folder. Its files must have these columns, all of text; further columns are
    /// ignored.
    pub(crate) fn open(folder: &Path, columns: &'static [&'static str]) -> Result<Self, Error> {
        let refuse = || Error::io(folder, "read the folder");
        let mut paths = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(refuse())? {
            let path = entry.map_err(refuse())?.path();
            if path.extension().is_some_and(|extension| extension == "parquet") {
                paths.push(path);
            }
        }
        if paths.is_empty() {
            let reason = "no file *.parquet in this folder".into();
            return Err(Error::Parquet { path: folder.to_owned(), reason });
        }
        paths.sort_unstable_by(|one, other| other.cmp(one));
        Ok(Self {
            columns,
            paths,
            path: folder.to_owned(),
            part: None,
            places: Vec::new(),
            group: 0,
            cells: Vec::new(),
            at: 0,
            row: 0,
        })
    }

    /// Returns the cells of the next row, one per column.
    pub(crate) fn row(&mut self) -> Result<Option<Vec<&str>>, Error> {
        while self.cells.first().is_none_or(|cells| self.at >= cells.len()) {
            if !self.advance()? {
                return Ok(None);
            }
        }
        let at = self.at;
        self.at += 1;
        self.row += 1;
        let (path, line) = (&self.path, self.row);
        let mut row = Vec::with_capacity(self.columns.len());
        for (cells, column) in self.cells.iter().zip(self.columns) {
            let cell = cells.get(at).map(ByteArray::data).unwrap_or_default();
            row.push(std::str::from_utf8(cell).map_err(|error| Error::Row {
                path: path.clone(),
                line,
                column,
                expected: "valid UTF-8".into(),
                got: format!("a bad byte at position {} of the cell", error.valid_up_to()),
            })?);
        }
        Ok(Some(row))
    }

    /// File and row (from 1) of the last returned row.
    pub(crate) fn position(&self) -> (PathBuf, u64) {
        (self.path.clone(), self.row)
    }

    /// Reads the next row group, opening the next file if needed; returns `false` at the end.
    fn advance(&mut self) -> Result<bool, Error> {
        (self.cells, self.at) = (Vec::new(), 0);
        if self.part.as_ref().is_none_or(|part| self.group >= part.num_row_groups()) {
            let Some(path) = self.paths.pop() else { return Ok(false) };
            self.path = path;
            let part = open(&self.path)?;
            self.places = self.places(&part)?;
            (self.part, self.group, self.row) = (Some(part), 0, 0);
            return Ok(true);
        }
        let Some(part) = &self.part else { return Ok(false) };
        let (group, places) = (self.group, &self.places);
        let read = guarded(|| {
            let group = part.get_row_group(group)?;
            places.iter().map(|place| cells(group.as_ref(), *place)).collect()
        });
        self.cells = read.map_err(refuse(&self.path))?;
        self.group += 1;
        Ok(true)
    }

    fn places(&self, part: &SerializedFileReader<File>) -> Result<Vec<usize>, Error> {
        let schema = part.metadata().file_metadata().schema_descr();
        let names: Vec<&str> = schema.columns().iter().map(|column| column.name()).collect();
        let place = |wanted: &&str| {
            names.iter().position(|name| name == wanted).ok_or_else(|| Error::Parquet {
                path: self.path.clone(),
                reason: format!("no column {wanted}; it has {}", names.join(", ")),
            })
        };
        self.columns.iter().map(place).collect()
    }
}

fn open(path: &Path) -> Result<SerializedFileReader<File>, Error> {
    let file = File::open(path).map_err(Error::io(path, "read the file"))?;
    atomic_file::remember_input(path);
    guarded(|| SerializedFileReader::new(file)).map_err(refuse(path))
}

/// Returns the result of `read`, with panics as errors: the page reader panics on some damaged
/// pages.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(read));
    read.unwrap_or_else(|_| Err(ParquetError::General("it is damaged".into())))
}

/// Reads all cells of a column of a row group.
fn cells(group: &dyn RowGroupReader, place: usize) -> Result<Vec<ByteArray>, ParquetError> {
    let rows = usize::try_from(group.metadata().num_rows())
        .map_err(|_| ParquetError::General("a negative number of rows".into()))?;
    shards::check_bounded(group.metadata().column(place))?;
    let ColumnReader::ByteArrayColumnReader(mut reader) = group.get_column_reader(place)? else {
        return Err(ParquetError::General(format!("column {} holds no text", place + 1)));
    };
    let (mut cells, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, ..) =
            reader.read_records(rows - read, Some(&mut levels), None, &mut cells)?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if cells.len() != rows {
        return Err(ParquetError::General(format!("column {} has empty cells", place + 1)));
    }
    Ok(cells)
}

fn refuse(path: &Path) -> impl FnOnce(ParquetError) -> Error + use<> {
    let path = path.to_owned();
    move |error| Error::Parquet { path, reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parquet::basic::{Compression, ZstdLevel};
    use parquet::data_type::ByteArrayType;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    use super::*;

    #[test]
    fn a_small_file_of_huge_cells_is_refused_before_they_are_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let schema =
            Arc::new(parse_message_type("message m { required binary id (UTF8); }").unwrap());
        let zstd = Compression::ZSTD(ZstdLevel::default());
        let properties = WriterProperties::builder().set_compression(zstd);
        let properties = Arc::new(properties.set_dictionary_enabled(false).build());
        let cell = |bytes: usize| ByteArray::from(vec![b'a'; bytes]);
        let read = |cells: &[ByteArray]| {
            let file = File::create(folder.path().join("a.parquet")).unwrap();
            let (schema, properties) = (Arc::clone(&schema), Arc::clone(&properties));
            let mut writer = SerializedFileWriter::new(file, schema, properties).unwrap();
            let mut part = writer.next_row_group().unwrap();
            let mut column = part.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(cells, None, None).unwrap();
            column.close().unwrap();
            part.close().unwrap();
            writer.close().unwrap();
            let mut rows = ParquetRows::open(folder.path(), &["id"]).unwrap();
            rows.row().map(|row| row.map_or(0, |cells| cells[0].len())).map_err(|e| e.to_string())
        };
        for cells in [vec![cell((1 << 26) + 1)], [vec![cell(1 << 26)], vec![cell(1); 99]].concat()]
        {
            let error = read(&cells).unwrap_err();
            assert!(error.contains("a.parquet") && error.contains("column id: "), "{error}");
            assert!(error.contains(&format!("for {} values", cells.len())), "{error}");
        }
        assert_eq!(read(&[cell(1 << 20)]), Ok(1 << 20));
    }
}
