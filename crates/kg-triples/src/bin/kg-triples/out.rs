//! Where a command writes its examples: a file of lines, or a prepared folder.
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use kg_triples::KgError;
use shards::{Preparation, Preparing};

use crate::Done;

/// What `--out` names.
pub enum Out {
    File(PathBuf),
    Folder(Preparing),
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
