//! `metrics.jsonl`: one JSON object a line, which any plotting tool reads.
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Result, TrainError};

/// One line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct StepMetrics {
    /// Updates made, this one included.
    pub step: u64,
    /// Passes over the data, as a fraction; of several tasks, over the first one's.
    pub epoch: f64,
    /// Mean of the total loss since the last line.
    pub loss: f64,
    /// Means of the named parts since the last line, each over the batches that had it: `loss/<part>`, of several tasks
    /// `loss/<lane>/<part>`.
    pub parts: std::collections::BTreeMap<String, f64>,
    /// Factor times peak rate at this step.
    pub learning_rate: f64,
    /// Total gradient norm of this step, before clipping.
    pub grad_norm: f64,
    /// Tokens seen so far, padding left out.
    pub tokens: u64,
}

/// Appends lines; on resume, lines after the checkpoint are dropped first.
pub struct MetricsWriter {
    path: PathBuf,
    file: File,
}

impl MetricsWriter {
    /// Opens `path` and keeps the lines up to and including `step`.
    ///
    /// # Errors
    /// [`TrainError::File`] if the file cannot be read or written, or a kept line is not valid.
    pub fn open(path: &Path, step: u64) -> Result<Self> {
        let refuse = |error: std::io::Error| TrainError::file(path, error);
        let mut kept = String::new();
        if step > 0 && path.exists() {
            for (number, line) in
                BufReader::new(File::open(path).map_err(refuse)?).lines().enumerate()
            {
                let line = line.map_err(refuse)?;
                match serde_json::from_str::<StepMetrics>(&line) {
                    Ok(metrics) if metrics.step > step => break,
                    Ok(_) => {
                        kept.push_str(&line);
                        kept.push('\n');
                    }
                    // A line cut short by the interruption can only be the last.
                    Err(error) if error.is_eof() => break,
                    Err(error) => {
                        let reason = format!("line {}: {error}", number + 1);
                        return Err(TrainError::file(path, reason));
                    }
                }
            }
        }
        whole_file::write(path, kept).map_err(refuse)?;
        let file = OpenOptions::new().append(true).open(path).map_err(refuse)?;
        Ok(Self { path: path.to_owned(), file })
    }

    /// Appends one line.
    ///
    /// # Errors
    /// [`TrainError::File`] if it cannot be written.
    pub fn write(&mut self, metrics: &StepMetrics) -> Result<()> {
        let mut line =
            serde_json::to_string(metrics).map_err(|error| TrainError::file(&self.path, error))?;
        line.push('\n');
        self.file.write_all(line.as_bytes()).map_err(|error| TrainError::file(&self.path, error))
    }
}
