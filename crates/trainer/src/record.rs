//! Logging of a stage's steps: metrics, speed and TensorBoard events.
use std::path::PathBuf;

use crate::event_file::EventFile;
use crate::metrics::{
    METRICS, MetricsWriter, SPEED, StepSpeed, append_line, open_lines, read_lines,
};
use crate::progress::note;
use crate::{Result, Stage, StepMetrics};

/// The files of a stage that grow with its steps.
pub(crate) struct Record {
    metrics: MetricsWriter,
    speed: (PathBuf, std::fs::File),
    events: EventFile,
    /// Tokens and seconds at the last line.
    last: (u64, f64),
}

impl Record {
    /// Opens the files and removes lines after `step`. `last` is the number of tokens and seconds
    /// up to `step`; `lines` is the number of lines of metrics that the checkpoint counted, with
    /// one line every `log_steps`.
    pub(crate) fn open(
        stage: &Stage,
        step: u64,
        last: (u64, f64),
        lines: Option<u64>,
        log_steps: u64,
    ) -> Result<Self> {
        let metrics = MetricsWriter::open(&stage.folder.join(METRICS), step)?;
        if let Some(text) = lost_lines(&metrics, lines, (step, log_steps))? {
            note(&format!("{}: {text}", stage.name));
        }
        let path = stage.folder.join(SPEED);
        let (file, _) = open_lines(&path, step > 0, |line: &StepSpeed| line.step <= step)?;
        let events = EventFile::create(&stage.folder, step)?;
        Ok(Self { metrics, speed: (path, file), events, last })
    }

    pub(crate) fn metrics(&self) -> &MetricsWriter {
        &self.metrics
    }

    /// Appends a line of metrics; `seconds` is the training time so far, including earlier parts.
    pub(crate) fn write(&mut self, metrics: &StepMetrics, seconds: f64) -> Result<()> {
        self.metrics.write(metrics)?;
        let (tokens, since) = (metrics.tokens.saturating_sub(self.last.0), seconds - self.last.1);
        let tokens_per_second = tokens as f64 / since.max(1e-9);
        self.last = (metrics.tokens, seconds);
        let speed = StepSpeed { step: metrics.step, seconds, tokens_per_second };
        append_line(&self.speed.0, &mut self.speed.1, &speed)?;
        let values = [
            ("loss", Some(metrics.loss)),
            ("learning_rate", Some(metrics.learning_rate)),
            ("grad_norm", Some(metrics.grad_norm)),
            ("tokens_per_second", Some(tokens_per_second)),
            ("loss_scale", metrics.loss_scale),
        ];
        let values = values.into_iter().filter_map(|(tag, value)| Some((tag, value?)));
        let parts = metrics.parts.iter().map(|(tag, value)| (tag.as_str(), *value));
        self.events.scalars(metrics.step, values.chain(parts))
    }
}

/// A message if the file has fewer lines up to `step` than the checkpoint counted. It has the
/// number of missing lines and, if known, their steps.
fn lost_lines(
    metrics: &MetricsWriter,
    counted: Option<u64>,
    (step, log_steps): (u64, u64),
) -> Result<Option<String>> {
    let (present, counted) = (metrics.lines(), counted.unwrap_or(0));
    if present >= counted {
        return Ok(None);
    }
    let kept: Vec<StepMetrics> = read_lines(metrics.path())?;
    let mut gaps = Vec::new();
    let mut last = 0;
    for line in &kept {
        if line.step.saturating_sub(last) > log_steps {
            gaps.push(format!("between steps {last} and {}", line.step));
        }
        last = line.step;
    }
    if step.saturating_sub(last) >= log_steps {
        gaps.push(format!("after step {last}"));
    }
    let steps = if gaps.is_empty() { String::new() } else { format!(", {}", gaps.join(", ")) };
    let (path, lost) = (metrics.path().display(), counted - present);
    Ok(Some(format!("{path}: {lost} of its {counted} lines of earlier parts are missing{steps}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Environment;

    fn stage(folder: &std::path::Path) -> Stage {
        let environment =
            Environment { threads: 1, device: "Cpu".into(), float32_matmul: "highest".into() };
        Stage::new("test", folder, environment)
    }

    fn line(step: u64) -> StepMetrics {
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

    fn written(folder: &std::path::Path, lines: u64) -> Record {
        let mut record = Record::open(&stage(folder), 0, (0, 0.0), None, 1).unwrap();
        for step in 1..=lines {
            record.write(&line(step), 0.5 * step as f64).unwrap();
        }
        record
    }

    #[test]
    fn lines_that_were_lost_are_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(METRICS);
        assert_eq!(written(folder.path(), 4).metrics().lines(), 4);
        let open = || MetricsWriter::open(&path, 3).unwrap();
        let lost = |counted| lost_lines(&open(), counted, (3, 1)).unwrap();
        assert_eq!((lost(Some(3)), lost(None)), (None, None));
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().take(3).collect();
        for (kept, missing) in [
            (vec![0], "2 of its 3 lines of earlier parts are missing, after step 1"),
            (vec![2], "2 of its 3 lines of earlier parts are missing, between steps 0 and 3"),
            (vec![0, 2], "1 of its 3 lines of earlier parts are missing, between steps 1 and 3"),
            (vec![], "3 of its 3 lines of earlier parts are missing, after step 0"),
        ] {
            let kept: String =
                kept.into_iter().map(|k: usize| lines[k].to_owned() + "\n").collect();
            std::fs::write(&path, kept).unwrap();
            let text = lost(Some(3)).unwrap();
            assert!(text.ends_with(missing), "{text}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(
            lost(Some(3))
                .unwrap()
                .ends_with("3 of its 3 lines of earlier parts are missing, after step 0")
        );
    }

    #[test]
    fn speeds_are_those_between_lines_and_go_on() {
        let folder = tempfile::tempdir().unwrap();
        drop(written(folder.path(), 4));
        let mut record = Record::open(&stage(folder.path()), 2, (200, 1.0), Some(2), 1).unwrap();
        record.write(&line(3), 1.25).unwrap();
        let speeds: Vec<StepSpeed> =
            crate::metrics::read_lines(&folder.path().join(SPEED)).unwrap();
        let speeds: Vec<_> =
            speeds.iter().map(|line| (line.step, line.tokens_per_second)).collect();
        assert_eq!(speeds, [(1, 200.0), (2, 200.0), (3, 400.0)]);
    }
}
