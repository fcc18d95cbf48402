//! Rankings as TREC run files.
use std::path::Path;

use super::{Document, Rankings};
use crate::{Error, output};

/// Writes rankings of the documents `first` for each document of `second` as a TREC run: lines
/// `query Q0 document rank score tag`, with ranks from 1. `trec_eval` and `transfer-eval retrieval
/// run` read this format.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written; [`Error::Empty`] if all rankings are empty.
pub fn write_run(
    path: impl AsRef<Path>,
    rankings: &Rankings,
    first: &[Document],
    second: &[Document],
    tag: &str,
) -> Result<(), Error> {
    let path = path.as_ref();
    if rankings.iter().all(Vec::is_empty) {
        let hint = "no document of the second corpus has a ranking".into();
        return Err(Error::Empty { what: path.display().to_string(), hint });
    }
    let mut file = output::create(path)?;
    for (query, ranking) in second.iter().zip(rankings) {
        for (k, (document, score)) in ranking.iter().enumerate() {
            let rank = k + 1;
            let document = &first[*document].id;
            let line = format!("{} Q0 {document} {rank} {score} {tag}\n", query.id);
            file.write_all(line.as_bytes())?;
        }
    }
    Ok(file.finish()?)
}
