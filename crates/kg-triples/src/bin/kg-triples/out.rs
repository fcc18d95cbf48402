//! Destination of a command's examples: a JSONL file or a prepared folder.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kg_triples::Error;
use kg_triples::jsonl::{self, JsonlWriter};
use serde::Serialize;
use serde_json::{Value, json};
use shards::{Preparation, PreparedFolder};

use crate::CommandResult;

/// The destination `--out`.
pub enum Out {
    File(PathBuf),
    Folder(PreparedFolder),
}

/// Rule in the error message if a command holds out data but `--out` is a file.
pub const QUERY_FOLDER_RULE: &str = "a folder if data is held out, for the queries";

/// The queries of one or several probes, and the candidates for all queries.
pub struct Probe<Q, C> {
    /// The file name (without extension) and the queries of each probe.
    pub queries: Vec<(&'static str, Vec<Q>)>,
    pub candidates: Vec<C>,
}

impl<Q: Serialize, C: Serialize> Probe<Q, C> {
    /// Writes a file for each probe that has queries, and a file for the candidates. Returns the
    /// name and number of rows of each file.
    fn write(&self, out: &Out) -> Result<Vec<(&'static str, usize)>, Error> {
        let mut row_counts = Vec::new();
        for (name, queries) in &self.queries {
            row_counts.push((*name, write_rows(out, name, queries)?));
        }
        row_counts.push(("candidates", write_rows(out, "candidates", &self.candidates)?));
        Ok(row_counts)
    }
}

/// Writes `rows` to the file `probe/<name>.jsonl.gz` unless there are no rows. Returns the number
/// of rows.
fn write_rows<T: Serialize>(out: &Out, name: &str, rows: &[T]) -> Result<usize, Error> {
    if !rows.is_empty() {
        jsonl::write(out.file(&format!("probe/{name}.jsonl.gz"))?, rows)?;
    }
    Ok(rows.len())
}

/// Appends rows to a file and returns their number.
pub fn write_lines<T: Serialize>(
    writer: &mut JsonlWriter<T>,
    rows: impl Iterator<Item = T>,
) -> Result<usize, Error> {
    let mut written = 0;
    for row in rows {
        writer.write(&row)?;
        written += 1;
    }
    Ok(written)
}

impl Out {
    /// Creates a file destination if the path ends in `.jsonl` or `.gz`, is `-` or is an existing
    /// file. Otherwise starts a prepared folder. If `folder_rule` is set, a file is an error, whose
    /// message contains this text.
    pub fn start(path: &Path, folder_rule: Option<&'static str>) -> Result<Self, Error> {
        let has_extension = |end: &str| path.extension() == Some(OsStr::new(end));
        let is_file = path == Path::new("-") || (path.exists() && !path.is_dir());
        match (is_file || has_extension("jsonl") || has_extension("gz"), folder_rule) {
            (true, Some(rule)) => {
                Err(Error::Config { key: "out", value: path.display().to_string(), rule })
            }
            (true, None) => Ok(Self::File(path.to_owned())),
            (false, _) => Ok(Self::Folder(PreparedFolder::start(path)?)),
        }
    }

    /// Returns the path of the file `name`, such as `train/mentions.jsonl.gz`, in the prepared
    /// folder. If `--out` is a file, returns its path.
    pub fn file(&self, name: &str) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) => Ok(folder.file(name)?),
        }
    }

    /// Writes the manifest of a prepared folder and renames the folder to its path. Does nothing
    /// for a file.
    pub fn finish(self, program: &'static str, seed: Option<u64>, counts: Value) -> CommandResult {
        if let Self::Folder(folder) = self {
            let (arguments, inputs) = (cli::arguments(), cli::inputs());
            folder.finish(Preparation { program, arguments, inputs, seed, counts })?;
        }
        Ok(())
    }

    /// Writes the files of `probe`, if any, and then calls [`Self::finish`]. Returns the name and
    /// number of rows of each probe file.
    pub fn finish_with<Q: Serialize, C: Serialize>(
        self,
        program: &'static str,
        seed: u64,
        train: Value,
        probe: Option<&Probe<Q, C>>,
    ) -> Result<Vec<(&'static str, usize)>, Error> {
        let mut counts = json!({ "train": train });
        let mut row_counts = Vec::new();
        if let Some(probe) = probe {
            row_counts = probe.write(&self)?;
            let rows = row_counts.iter().map(|(name, size)| ((*name).to_owned(), json!(size)));
            counts["probe"] = rows.collect();
        }
        self.finish(program, Some(seed), counts)?;
        Ok(row_counts)
    }
}
