//! Reading of a table of a graph row by row.
use std::path::Path;

use crate::tsv::TsvReader;
use crate::{Error, Language};

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

const ALIAS_COLUMNS: &[&str] = &["id", "lang", "alias", "kind", "source"];

/// Passes the id, language and text of every alias of an entity in a table to `visit`, in order. The
/// table has the header `id lang alias kind source`.
///
/// # Errors
/// As [`KnowledgeGraph::read_dir`](crate::KnowledgeGraph::read_dir); errors of `visit`, with the
/// file and line.
pub fn for_each_alias(
    path: &Path,
    mut visit: impl FnMut(&str, Language, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    for_each_row(path, &[ALIAS_COLUMNS], |row| match *row {
        [id, language, alias, "entity", _] => visit(id, Language::new(language)?, alias),
        _ => Ok(()),
    })?;
    Ok(())
}
