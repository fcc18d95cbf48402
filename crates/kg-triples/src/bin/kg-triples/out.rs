//! Where a command writes its examples: a file of lines, or a prepared folder.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kg_triples::KgError;
use kg_triples::jsonl::JsonlWriter;
use serde::Serialize;
use shards::{Preparation, Preparing};

use crate::Done;

/// What `--out` names.
pub enum Out {
    File(PathBuf),
    Folder(Preparing),
}

/// What holding out asks of `--out`.
pub const FOR_QUERIES: &str = "a folder where something is held out, for its queries";

/// What a probe asks, and among what.
pub struct Probe<Q, C> {
    /// The name of each kind of queries, and the queries.
    pub queries: Vec<(&'static str, Vec<Q>)>,
    pub candidates: Vec<C>,
}

impl<Q: Serialize, C: Serialize> Probe<Q, C> {
    /// Queries of each kind, and candidates.
    pub fn sizes(&self) -> Vec<(&'static str, usize)> {
        let queries = self.queries.iter().map(|(name, queries)| (*name, queries.len()));
        queries.chain([("candidates", self.candidates.len())]).collect()
    }

    /// Writes a file for each kind that is not empty, and one for the candidates.
    pub fn write(&self, out: &Out) -> Done {
        let folder = out.expect_folder(FOR_QUERIES)?;
        for (name, queries) in &self.queries {
            write(folder, name, queries)?;
        }
        write(folder, "candidates", &self.candidates)
    }
}

/// A file of the probe; none where it would be empty.
fn write<T: Serialize>(folder: &Preparing, name: &str, rows: &[T]) -> Done {
    if rows.is_empty() {
        return Ok(());
    }
    let mut writer = JsonlWriter::create(folder.file(format!("probe/{name}.jsonl.gz"))?)?;
    for row in rows {
        writer.write(row)?;
    }
    writer.finish()
}

impl Out {
    /// A file if its name ends in `.jsonl` or `.gz` or a file is there, else a prepared folder.
    pub fn start(path: &Path) -> Result<Self, KgError> {
        let ends = |end: &str| path.extension() == Some(OsStr::new(end));
        let is_file = path == Path::new("-") || (path.exists() && !path.is_dir());
        match is_file || ends("jsonl") || ends("gz") {
            true => Ok(Self::File(path.to_owned())),
            false => Ok(Self::Folder(Preparing::start(path)?)),
        }
    }

    /// The path of the training file `name`; a file is all there is.
    pub fn train(&self, name: &str) -> Result<PathBuf, KgError> {
        match self {
            Self::File(path) => Ok(path.clone()),
            Self::Folder(folder) => Ok(folder.file(Path::new("train").join(name))?),
        }
    }

    /// The folder, or an error for options that need one.
    pub fn expect_folder(&self, options: &'static str) -> Result<&Preparing, KgError> {
        match self {
            Self::Folder(folder) => Ok(folder),
            Self::File(path) => {
                let value = path.display().to_string();
                Err(KgError::Config { key: "out", value, rule: options })
            }
        }
    }

    /// Gives a folder its manifest and its name; a file has it already.
    pub fn finish(
        self,
        program: &'static str,
        seed: Option<u64>,
        counts: serde_json::Value,
    ) -> Done {
        if let Self::Folder(folder) = self {
            folder.finish(Preparation { program, seed, counts })?;
        }
        Ok(())
    }
}
