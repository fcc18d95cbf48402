//! The trait of all commands, which generate files and write the files to a prepared folder.
use std::fs::File;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::Value;
use shards::{Preparation, PreparedFolder};

/// Names and contents of files.
pub type Files = Vec<(String, String)>;

/// Generates files that replace a data set that cannot be distributed.
pub trait Generator {
    /// Name of the command.
    const COMMAND: &'static str;

    /// Generates the files, and returns the files and counts of their contents.
    ///
    /// # Errors
    /// If an input cannot be read, an option has an invalid value, or the inputs yield no output.
    fn generate(&self) -> Result<(Files, Value)>;

    /// Returns the random seed, or `None` if the generator is not random.
    fn seed(&self) -> Option<u64>;

    /// Generates the files and writes them to the prepared folder `out`; returns the counts.
    ///
    /// # Errors
    /// The errors of [`Generator::generate`] and [`PreparedFolder`].
    fn prepare(&self, out: &Path) -> Result<Value> {
        let folder = PreparedFolder::start(out)?;
        let (files, counts) = self.generate()?;
        for (name, text) in files {
            let path = folder.file(name)?;
            write_file(&path, text.as_bytes()).with_context(|| path.display().to_string())?;
        }
        let preparation = Preparation {
            program: Self::COMMAND,
            arguments: cli::arguments(),
            inputs: cli::inputs(),
            seed: self.seed(),
            counts: counts.clone(),
        };
        folder.finish(preparation)?;
        Ok(counts)
    }
}

/// Writes a new file, compressed with gzip if its name ends in `.gz`.
fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut encoder = GzEncoder::new(file, Compression::default());
        encoder.write_all(bytes)?;
        return encoder.finish().map(drop);
    }
    file.write_all(bytes)
}

/// Returns a row as a line of JSON.
pub(crate) fn json_line<T: serde::Serialize>(row: &T) -> Result<String> {
    Ok(serde_json::to_string(row)? + "\n")
}

/// Returns a dataset as the text of a JSON file.
pub(crate) fn dataset_json(dataset: &mlqa_eval::Dataset) -> Result<String> {
    Ok(String::from_utf8(dataset.to_json(&dataset.path)?)?)
}
