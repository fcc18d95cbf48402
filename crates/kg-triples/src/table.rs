//! Reading of a table of a graph row by row.
use std::path::Path;

use crate::Error;
use crate::tsv::TsvReader;

/// Passes every row of a table to `visit`, in order. If `visit` rejects a value, the returned error
/// contains the file, line and column. Returns the index in `headers` of the header of the file.
pub(crate) fn for_each_row(
    path: &Path,
    headers: &[&'static [&'static str]],
    mut visit: impl FnMut(&[&str]) -> Result<(), Error>,
) -> Result<usize, Error> {
    let (mut reader, header_index) = TsvReader::open(path, headers)?;
    while let Some(row) = reader.row()? {
        match visit(&row) {
            Err(Error::Value { field: column, expected, got }) => {
                let (path, line) = reader.position();
                return Err(Error::Row { path, line, column, expected, got });
            }
            result => result?,
        }
    }
    Ok(header_index)
}
