//! A table in Parquet files of a fixed number of rows, so that the bytes depend only on the rows.
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::basic::{Compression, ConvertedType, LogicalType, Repetition, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::properties::{WriterProperties, WriterPropertiesPtr};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::{Type, TypePtr};
use tempfile::TempDir;

use crate::Error;

/// Rows per row group; a group is buffered in memory.
const GROUP_ROWS: usize = 1 << 17;

/// The files of a table, in a temporary folder.
pub(super) struct Parts {
    folder: TempDir,
    schema: TypePtr,
    properties: WriterPropertiesPtr,
    part_rows: usize,
    /// Number of complete files.
    parts: usize,
    /// The current file and its number of written rows.
    part: Option<(SerializedFileWriter<File>, usize)>,
    columns: Vec<Column>,
    /// Number of buffered rows.
    rows: usize,
}

/// Buffered cells of one column.
#[derive(Default)]
struct Column {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Column {
    /// Removes and returns the buffered cells.
    fn take(&mut self) -> Vec<ByteArray> {
        let all = ByteArray::from(std::mem::take(&mut self.bytes));
        let mut start = 0;
        let cells = self.ends.drain(..).map(|end| {
            let cell = all.slice(start, end - start);
            start = end;
            cell
        });
        cells.collect()
    }
}

fn schema(columns: &[&str]) -> ParquetResult<TypePtr> {
    let column = |name: &&str| {
        let text = Type::primitive_type_builder(name, Physical::BYTE_ARRAY)
            .with_repetition(Repetition::REQUIRED)
            .with_converted_type(ConvertedType::UTF8)
            .with_logical_type(Some(LogicalType::String));
        text.build().map(Arc::new)
    };
    let fields = columns.iter().map(column).collect::<ParquetResult<_>>()?;
    Ok(Arc::new(Type::group_type_builder("table").with_fields(fields).build()?))
}

impl Parts {
    /// Creates the table in a temporary folder below `folder`.
    pub(super) fn create(folder: &Path, columns: &[&str], part_rows: usize) -> Result<Self, Error> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            // The umask narrows this; temporary folders are otherwise private.
            builder.permissions(std::fs::Permissions::from_mode(0o777));
        }
        let made = builder.prefix(".extract-").tempdir_in(folder);
        let made = made.map_err(Error::io(folder, "write to the folder"))?;
        let schema = schema(columns).map_err(refuse(folder))?;
        let level = parquet::basic::ZstdLevel::try_new(3).map_err(refuse(folder))?;
        let properties =
            WriterProperties::builder().set_compression(Compression::ZSTD(level)).build();
        Ok(Self {
            folder: made,
            schema,
            properties: Arc::new(properties),
            part_rows: part_rows.max(1),
            parts: 0,
            part: None,
            columns: columns.iter().map(|_| Column::default()).collect(),
            rows: 0,
        })
    }

    /// Appends lines with tab-separated cells.
    pub(super) fn write(&mut self, rows: &str) -> Result<(), Error> {
        for row in rows.split_terminator('\n') {
            for (column, cell) in self.columns.iter_mut().zip(row.split('\t')) {
                column.bytes.extend_from_slice(cell.as_bytes());
                column.ends.push(column.bytes.len());
            }
            self.rows += 1;
            let in_part = self.part.as_ref().map_or(0, |(_, rows)| *rows);
            if self.rows == GROUP_ROWS || in_part + self.rows == self.part_rows {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join(format!("part-{:05}.parquet", self.parts))
    }

    /// Writes the buffered rows as a row group, and finishes the file if it is full.
    fn flush(&mut self) -> Result<(), Error> {
        let path = self.path();
        let (mut part, written) = match self.part.take() {
            Some(part) => part,
            None => {
                let file = File::create(&path).map_err(Error::io(&path, "write the file"))?;
                let (schema, properties) = (Arc::clone(&self.schema), Arc::clone(&self.properties));
                let part = SerializedFileWriter::new(file, schema, properties);
                (part.map_err(refuse(&path))?, 0)
            }
        };
        if self.rows > 0 {
            write_group(&mut part, &mut self.columns).map_err(refuse(&path))?;
        }
        let written = written + std::mem::take(&mut self.rows);
        if written < self.part_rows {
            self.part = Some((part, written));
            return Ok(());
        }
        self.end(part)
    }

    fn end(&mut self, mut part: SerializedFileWriter<File>) -> Result<(), Error> {
        let path = self.path();
        part.finish().map_err(refuse(&path))?;
        part.inner().sync_all().map_err(Error::io(&path, "write the file"))?;
        self.parts += 1;
        Ok(())
    }

    /// Syncs the table to disk. A table without rows has one file.
    pub(super) fn sync(mut self) -> Result<TempDir, Error> {
        if self.rows > 0 || self.parts == 0 {
            self.flush()?;
        }
        if let Some((part, _)) = self.part.take() {
            self.end(part)?;
        }
        // Not every file system can sync a folder.
        let _ = File::open(self.folder.path()).and_then(|folder| folder.sync_all());
        Ok(self.folder)
    }
}

fn write_group(part: &mut SerializedFileWriter<File>, columns: &mut [Column]) -> ParquetResult<()> {
    let mut group = part.next_row_group()?;
    for column in columns {
        let Some(mut writer) = group.next_column()? else {
            return Err(ParquetError::General("a column too many".into()));
        };
        let cells = column.take();
        match writer.untyped() {
            ColumnWriter::ByteArrayColumnWriter(writer) => {
                writer.write_batch(&cells, None, None)?
            }
            _ => return Err(ParquetError::General("a column of another type".into())),
        };
        writer.close()?;
    }
    group.close()?;
    Ok(())
}

fn refuse(path: &Path) -> impl FnOnce(ParquetError) -> Error + use<> {
    let refuse = Error::io(path, "write Parquet");
    move |error| refuse(std::io::Error::other(error))
}
