//! The interface of all commands: they generate files and write them to a prepared folder.
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use shards::{Preparation, Preparing};

/// File names and contents.
pub type Files = Vec<(String, String)>;

/// A generator of data that replaces other data.
pub trait StandIn {
    /// The command's name.
    const COMMAND: &'static str;

    /// Generates the files, and returns them with counts of their content.
    ///
    /// # Errors
    /// An error that names the unreadable input, the invalid value or the empty output.
    fn make(&self) -> Result<(Files, Value)>;

    /// The seed of the draws, if there are any.
    fn seed(&self) -> Option<u64>;

    /// Generates the files and writes them to the prepared folder `out`; returns the counts.
    ///
    /// # Errors
    /// As [`StandIn::make`] and [`Preparing`].
    fn prepare(&self, out: &Path) -> Result<Value> {
        let folder = Preparing::start(out)?;
        let (files, counts) = self.make()?;
        for (name, text) in files {
            let path = folder.file(name)?;
            write(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        let preparation =
            Preparation { program: Self::COMMAND, seed: self.seed(), counts: counts.clone() };
        folder.finish(preparation)?;
        Ok(counts)
    }
}

/// Writes a new file, compressed if its name ends in `.gz`.
fn write(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    if path.extension().is_some_and(|end| end == "gz") {
        let mut packed = GzEncoder::new(file, Compression::default());
        packed.write_all(bytes)?;
        return packed.finish().map(drop);
    }
    file.write_all(bytes)
}

/// Formats a row as a line of JSON.
pub(crate) fn line<T: serde::Serialize>(row: &T) -> Result<String> {
    Ok(serde_json::to_string(row)? + "\n")
}

/// Formats a dataset as the JSON of its file.
pub(crate) fn json_of(dataset: &mlqa_eval::Dataset) -> Result<String> {
    Ok(String::from_utf8(dataset.to_json(&dataset.path)?)?)
}
