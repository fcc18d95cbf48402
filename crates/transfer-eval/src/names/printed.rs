//! Scores of the authors' released predictions, compared with what their scripts printed.
use std::path::{Path, PathBuf};

use super::{
    CoverageScore, NameConfig, PrecisionScore, read_gold, read_predicted, score_coverage,
    score_precision,
};
use crate::files::read_text;
use crate::{Error, Result};

/// One of the two metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTask {
    /// [`score_coverage`].
    Coverage,
    /// [`score_precision`].
    Precision,
}

impl NameTask {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Coverage, Self::Precision];

    /// The folder of its results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Coverage => "coverage",
            Self::Precision => "precision",
        }
    }
}

/// A score that equals the authors' printed one.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedScore {
    /// The metric.
    pub task: NameTask,
    /// The predictions: the name of the authors' result file without `.out`.
    pub system: String,
    /// The language: the name of the gold file without `.json`.
    pub language: String,
    /// F1, computed.
    pub f1: f64,
    /// F1, as the authors printed it.
    pub printed_f1: String,
}

/// Scores the predictions of every `results/{coverage,precision}/*.out` in `folder`, a copy of
/// `apple/ml-kge`, whose data may be gzipped, and compares each printed count and digit.
///
/// # Errors
/// [`Error::Read`]; [`Error::Line`] naming the first printed line that differs; those of
/// [`read_gold`] and [`read_predicted`].
pub fn compare_printed(folder: impl AsRef<Path>) -> Result<Vec<ComparedScore>> {
    let folder = folder.as_ref();
    let mut scores = Vec::new();
    for task in NameTask::ALL {
        let results = folder.join("results").join(task.name());
        let entries = std::fs::read_dir(&results).map_err(Error::read(&results))?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path()));
        let mut paths =
            paths.collect::<Result<Vec<PathBuf>, _>>().map_err(Error::read(&results))?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "out"));
        paths.sort_unstable();
        for path in paths {
            compare_file(folder, task, &path, &mut scores)?;
        }
    }
    Ok(scores)
}

fn compare_file(
    folder: &Path,
    task: NameTask,
    path: &Path,
    scores: &mut Vec<ComparedScore>,
) -> Result<()> {
    let system = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let text = read_text(path)?;
    let mut lines = (1..).zip(text.lines());
    let named = |line: &str, what: &str| {
        let name = line.strip_prefix(&format!("- Loading {what} from "))?.strip_suffix("...")?;
        let plain = folder.join(name);
        let packed = folder.join(format!("{name}.gz"));
        Some(if packed.exists() { packed } else { plain })
    };
    let mut gold_path = None;
    while let Some((_, line)) = lines.next() {
        gold_path = named(line, "references").or(gold_path);
        let (Some(gold_path), Some(predicted)) = (&gold_path, named(line, "predictions")) else {
            continue;
        };
        let gold = read_gold(gold_path)?;
        // The scripts' argument is not in their output.
        let threshold = match (task, system.starts_with("m-nta")) {
            (NameTask::Coverage, true) => 2,
            _ => 1,
        };
        let config = NameConfig { threshold, ..NameConfig::default() };
        let predicted = read_predicted(predicted, &config)?;
        let (f1, expected) = match task {
            NameTask::Coverage => {
                let score = score_coverage(&gold, &predicted)?;
                (score.f1, score.report())
            }
            NameTask::Precision => {
                let score = score_precision(&gold, &predicted)?;
                (score.f1, score.report())
            }
        };
        let mut printed_f1 = "";
        for computed in expected {
            let (number, printed) = lines.next().unwrap_or_default();
            if printed != computed {
                let message = format!("printed `{printed}`, computed `{computed}`");
                return Err(Error::line(path, number, message));
            }
            printed_f1 = printed.rsplit(' ').next().unwrap_or_default();
        }
        let file = gold_path.file_name().unwrap_or_default().to_string_lossy();
        scores.push(ComparedScore {
            task,
            system: system.clone(),
            language: file.split('.').next().unwrap_or_default().to_owned(),
            f1,
            printed_f1: printed_f1.to_owned(),
        });
    }
    Ok(())
}

const RULE: &str = "---------------------------";

impl CoverageScore {
    /// What the authors' script prints behind the names of the files.
    fn report(&self) -> Vec<String> {
        vec![
            format!("  # of entities in the references: {}", thousands(self.entities)),
            format!("  # of entities in the predictions: {}", thousands(self.predicted_entities)),
            RULE.into(),
            format!("  Coverage - P  = {:.1}", self.precision),
            format!("  Coverage - R  = {:.1}", self.recall),
            format!("  Coverage - F1 = {:.1}", self.f1),
        ]
    }
}

impl PrecisionScore {
    /// What the authors' script prints behind the names of the files.
    fn report(&self) -> Vec<String> {
        let gold = thousands(self.gold_entities);
        vec![
            format!("  # of entities: {}", thousands(self.entities)),
            format!("  # of entities with correct names: {gold}"),
            format!("  # of entities with incorrect names: {gold}"),
            format!("  # of entities in the predictions: {}", thousands(self.predicted_entities)),
            RULE.into(),
            format!("  Total incorrect names: {}", thousands(self.incorrect)),
            format!("  Identified incorrect names: {}", thousands(self.rejected_incorrect)),
            format!("  Total correct names: {}", thousands(self.correct)),
            format!(
                "  Correct names classified as incorrect: {}",
                thousands(self.rejected_correct)
            ),
            RULE.into(),
            format!("  Precision - P  = {:.1}", self.accuracy),
            format!("  Precision - R  = {:.1}", self.recall),
            format!("  Precision - F1 = {:.1}", self.f1),
        ]
    }
}

/// `1,000`
fn thousands(count: usize) -> String {
    match (count / 1000, count % 1000) {
        (0, rest) => rest.to_string(),
        (before, rest) => format!("{},{rest:03}", thousands(before)),
    }
}
