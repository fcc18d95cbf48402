//! Where a command writes its examples: a file of lines, or a prepared folder.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kg_triples::{Error, jsonl};
use serde::Serialize;
use serde_json::{Value, json};
use shards::{Preparation, Preparing};

use crate::Done;

/// What `--out` names.
pub enum Out {
    File(PathBuf),
    Folder(Preparing),
}

/// What `--out` must be where something is held out.
pub const FOR_QUERIES: &str = "a folder where something is held out, for its queries";

/// The queries of a probe, and the candidates among which their answers are.
pub struct Probe<Q, C> {
    /// The name of each kind of queries, and the queries.
    pub queries: Vec<(&'static str, Vec<Q>)>,
    pub candidates: Vec<C>,
}

impl<Q: Serialize, C: Serialize> Probe<Q, C> {
    /// Writes a file for each kind that is not empty, and one for the candidates; how many rows
    /// each has.
    fn write(&self, out: &Out) -> Result<Vec<(&'static str, usize)>, Error> {
        let mut sizes = Vec::new();
        for (name, queries) in &self.queries {
            sizes.push((*name, write(out, name, queries)?));
        }
        sizes.push(("candidates", write(out, "candidates", &self.candidates)?));
        Ok(sizes)
    }
}

/// A file of the probe; none where it would be empty.
fn write<T: Serialize>(out: &Out, name: &str, rows: &[T]) -> Result<usize, Error> {
    if !rows.is_empty() {
        jsonl::write(out.file(&format!("probe/{name}.jsonl.gz"))?, rows)?;
    }
    Ok(rows.len())
}

impl Out {
    /// A file if its name ends in `.jsonl` or `.gz` or a file is there, else a prepared folder. A
    /// file is refused for options that need a folder, by the rule that they give.
    pub fn start(path: &Path, folder: Option<&'static str>) -> Result<Self, Error> {
        let ends = |end: &str| path.extension() == Some(OsStr::new(end));
        let is_file = path == Path::new("-") || (path.exists() && !path.is_dir());
        match (is_file || ends("jsonl") || ends("gz"), folder) {
            (true, Some(rule)) => {
                Err(Error::Config { key: "out", value: path.display().to_string(), rule })
            }
            (true, None) => Ok(Self::File(path.to_owned())),
            (false, _) => Ok(Self::Folder(Preparing::start(path)?)),
        }
    }

    /// The path of a file in the folder, such as `train/mentions.jsonl.gz`; that of the file where
    /// there is no folder.
    pub fn file(&self, name: &str) -> Result<PathBuf, Error> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) => Ok(folder.file(name)?),
        }
    }

    /// Gives a folder its manifest and its name; a file has it already.
    pub fn finish(self, program: &'static str, seed: Option<u64>, counts: Value) -> Done {
        if let Self::Folder(folder) = self {
            folder.finish(Preparation { program, seed, counts })?;
        }
        Ok(())
    }

    /// The same with a probe beside the training lines; how many rows each of its files has.
    pub fn finish_with<Q: Serialize, C: Serialize>(
        self,
        program: &'static str,
        seed: u64,
        train: Value,
        probe: Option<&Probe<Q, C>>,
    ) -> Result<Vec<(&'static str, usize)>, Error> {
        let mut counts = json!({ "train": train });
        let mut sizes = Vec::new();
        if let Some(probe) = probe {
            sizes = probe.write(&self)?;
            let rows = sizes.iter().map(|(name, size)| ((*name).to_owned(), json!(size)));
            counts["probe"] = rows.collect();
        }
        self.finish(program, Some(seed), counts)?;
        Ok(sizes)
    }
}
