//! Logging of a stage's steps: metrics and speed.
use std::path::Path;

use crate::record::metrics::{JsonLines, METRICS, SPEED, StepSpeed};
use crate::{Result, Stage, StepMetrics};

/// The log files of a stage: `metrics.jsonl` and `speed.jsonl`.
pub(crate) struct StepLog {
    metrics: JsonLines,
    speed: JsonLines,
    /// Number of tokens and seconds of training up to the last line of metrics.
    last_logged: (u64, f64),
}

impl StepLog {
    /// Opens the files and removes lines after `step`. `last_logged` contains the number of tokens
    /// and the seconds of training up to `step`.
    pub(crate) fn open(stage: &Stage, step: u64, last_logged: (u64, f64)) -> Result<Self> {
        let path = |name: &str| stage.folder.join(name);
        let metrics =
            JsonLines::open(&path(METRICS), step > 0, |line: &StepMetrics| line.step <= step)?;
        let speed = JsonLines::open(&path(SPEED), step > 0, |line: &StepSpeed| line.step <= step)?;
        Ok(Self { metrics, speed, last_logged })
    }

    /// Returns the path of `metrics.jsonl`.
    pub(crate) fn metrics_path(&self) -> &Path {
        self.metrics.path()
    }

    /// Appends a line of metrics; `seconds` is the training time so far, including earlier parts of
    /// a resumed run.
    pub(crate) fn write(&mut self, metrics: &StepMetrics, seconds: f64) -> Result<()> {
        self.metrics.append(metrics)?;
        let (tokens, seconds_since) =
            (metrics.tokens.saturating_sub(self.last_logged.0), seconds - self.last_logged.1);
        let tokens_per_second = tokens as f64 / seconds_since.max(1e-9);
        self.last_logged = (metrics.tokens, seconds);
        self.speed.append(&StepSpeed { step: metrics.step, seconds, tokens_per_second })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    fn stage(folder: &std::path::Path) -> Stage {
        Stage::new("test", folder, Environment::for_tests())
    }

    fn step_metrics(step: u64) -> StepMetrics {
        StepMetrics {
            step,
            epoch: 0.0,
            loss: 8.0 / step as f64,
            parts: [("loss/span".to_owned(), 1.0)].into(),
            learning_rate: 1e-5 * step as f64,
            grad_norm: if step == 2 { f64::NAN } else { 2.0 },
            tokens: 100 * step,
            loss_scale: None,
            skipped: false,
        }
    }

    #[test]
    fn speeds_are_measured_between_lines_also_after_resuming() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = StepLog::open(&stage(folder.path()), 0, (0, 0.0)).unwrap();
        for step in 1..=4 {
            log.write(&step_metrics(step), 0.5 * step as f64).unwrap();
        }
        let mut log = StepLog::open(&stage(folder.path()), 2, (200, 1.0)).unwrap();
        log.write(&step_metrics(3), 1.25).unwrap();
        let text = std::fs::read_to_string(folder.path().join(SPEED)).unwrap();
        let speed = |line| serde_json::from_str::<StepSpeed>(line).unwrap();
        let speeds: Vec<_> =
            text.lines().map(speed).map(|line| (line.step, line.tokens_per_second)).collect();
        assert_eq!(speeds, [(1, 200.0), (2, 200.0), (3, 400.0)]);
    }
}
