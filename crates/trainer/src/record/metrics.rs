//! `metrics.jsonl`: one JSON object per line.
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::path::Path;

use atomic_file::fs::File;
use serde::{Deserialize, Deserializer, Serialize};

use crate::config::is_default;
use crate::{Error, Result};

/// Names of the files in a stage's folder.
pub(crate) const METRICS: &str = "metrics.jsonl";
pub(crate) const SPEED: &str = "speed.jsonl";

/// One line of `speed.jsonl`: the speed between two lines of metrics. Times are stored separately
/// from the metrics, which are reproducible.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(crate) struct StepSpeed {
    /// Number of completed steps.
    pub(crate) step: u64,
    /// Seconds of training so far, including earlier parts of a resumed run.
    pub(crate) seconds: f64,
    /// Tokens per second since the last line, without padding.
    pub(crate) tokens_per_second: f64,
}

/// A line of `metrics.jsonl`.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct StepMetrics {
    /// Number of completed steps, including this step.
    pub step: u64,
    /// Number of passes over the data of the first task, as a fraction.
    pub epoch: f64,
    /// Mean of the total loss over the steps since the last line, including skipped steps. If no
    /// loss is finite, the mean is NaN, written as null.
    #[serde(deserialize_with = "number_or_null")]
    pub loss: f64,
    /// Means of the named parts since the last line, each over the batches that have this part. The
    /// keys are `loss/<part>` or, for several tasks, `loss/<slot>/<part>`.
    pub parts: BTreeMap<String, f64>,
    /// Learning rate of this step: the schedule's factor times the peak rate.
    pub learning_rate: f64,
    /// Total gradient norm of this step, before clipping.
    #[serde(deserialize_with = "number_or_null")]
    pub grad_norm: f64,
    /// Number of tokens processed so far, without padding.
    pub tokens: u64,
    /// The scale of a float16 loss after this step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<f64>,
    /// Whether this step was skipped because scaled losses or gradients overflowed float16; omitted
    /// if false. A skipped step has a non-finite `grad_norm`, which is written as null.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skipped: bool,
}

/// Deserialises a number, or null as NaN, because JSON has no non-finite numbers.
fn number_or_null<'de, D: Deserializer<'de>>(source: D) -> std::result::Result<f64, D::Error> {
    Ok(Option::deserialize(source)?.unwrap_or(f64::NAN))
}

/// Losses since the last line of metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingMeans {
    /// Sum of the losses.
    loss: f64,
    steps: u64,
    /// Sum of each part, and the number of batches with this part.
    parts: BTreeMap<String, (f64, u64)>,
}

impl PendingMeans {
    pub(crate) fn new(loss: f64, steps: u64, parts: BTreeMap<String, (f64, u64)>) -> Self {
        Self { loss, steps, parts }
    }

    pub(crate) fn add_batch(&mut self, loss: f64, parts: Vec<(String, f64)>) {
        for (name, value) in parts {
            let (sum, count) = self.parts.entry(name).or_default();
            *sum += value;
            *count += 1;
        }
        self.loss += loss;
    }

    pub(crate) fn end_step(&mut self) {
        self.steps += 1;
    }

    /// Returns the mean loss over the steps.
    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.steps as f64
    }

    /// Returns the mean of each part over the batches with this part.
    pub(crate) fn means(&self) -> BTreeMap<String, f64> {
        let mean =
            |(name, (sum, count)): (&String, &(f64, u64))| (name.clone(), sum / *count as f64);
        self.parts.iter().map(mean).collect()
    }

    /// Returns the sum of the losses, and the number of steps in this sum.
    pub(crate) fn loss_sum(&self) -> (f64, u64) {
        (self.loss, self.steps)
    }

    pub(crate) fn parts(&self) -> &BTreeMap<String, (f64, u64)> {
        &self.parts
    }
}

/// Returns the loss of the last line of a file.
pub(crate) fn last_loss(path: &Path) -> Option<f64> {
    let text = std::fs::read_to_string(path).ok()?;
    let last = text.lines().last()?;
    serde_json::from_str::<StepMetrics>(last).ok().map(|metrics| metrics.loss)
}

/// A file of JSON lines.
pub(crate) struct JsonLines {
    file: File,
}

impl JsonLines {
    /// Opens `path` for appending. With `resumes`, only the leading lines that satisfy `keep` are
    /// retained; otherwise the file is emptied.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read or written, or a retained line is invalid.
    pub(crate) fn open<T: serde::de::DeserializeOwned>(
        path: &Path,
        resumes: bool,
        keep: impl Fn(&T) -> bool,
    ) -> Result<Self> {
        let mut text = Vec::new();
        if resumes && path.exists() {
            let stored = atomic_file::fs::read(path)?;
            for (number, line) in stored.split(|&byte| byte == b'\n').enumerate() {
                match serde_json::from_slice::<T>(line) {
                    Ok(parsed) if !keep(&parsed) => break,
                    Ok(_) => {
                        text.extend_from_slice(line);
                        text.push(b'\n');
                    }
                    // After an interruption, the last line can be incomplete; it is removed.
                    Err(error) if error.is_eof() => break,
                    Err(error) => {
                        let reason = format!("line {}: {error}", number + 1);
                        return Err(Error::file(path, reason));
                    }
                }
            }
        }
        if resumes {
            atomic_file::write(path, text)?;
        } else {
            File::create(path)?;
        }
        Ok(Self { file: File::open_with(path, OpenOptions::new().append(true))? })
    }

    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }

    /// Appends a value as one line.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written.
    pub(crate) fn append(&mut self, value: &impl Serialize) -> Result<()> {
        let mut line = atomic_file::json::to_string(self.path(), value)?;
        line.push('\n');
        Ok(self.file.write_all(line.as_bytes())?)
    }
}
