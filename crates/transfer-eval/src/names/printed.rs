//! Scores of the authors' released predictions, compared with the output of their scripts.
use std::collections::BTreeMap;
use std::path::Path;

use super::{
    CoverageScore, NameConfig, PrecisionScore, read_gold, read_predicted, score_coverage,
    score_precision,
};
use crate::files::{numbered_lines, read_text};
use crate::{Error, Result};

/// F1 as printed by the scripts of WikiKGE-10's authors. The outer key is the metric and the
/// system, such as `coverage, m-nta.gpt-4`; the inner key is the language.
pub type PrintedScores = BTreeMap<String, BTreeMap<String, String>>;

/// Scores the released predictions again, and checks that all counts and scores equal the values in
/// the files `results/{coverage,precision}/*.out` of `folder`. `folder` is a copy of
/// `apple/ml-kge`, with plain or gzipped data.
///
/// # Errors
/// [`Error::File`]; [`Error::Line`] naming the first printed line that differs; errors of
/// [`read_gold`] and [`read_predicted`].
pub fn check_printed(folder: impl AsRef<Path>) -> Result<PrintedScores> {
    let folder = folder.as_ref();
    let mut scores = PrintedScores::new();
    for task in ["coverage", "precision"] {
        let results = folder.join("results").join(task);
        for entry in atomic_file::fs::read_dir(&results)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "out") {
                let system = path.file_stem().expect("a name with an extension has a stem");
                let system = system.to_string_lossy();
                let f1 = check_file(folder, &path, task, &system)?;
                scores.insert(format!("{task}, {system}"), f1);
            }
        }
    }
    Ok(scores)
}

/// Checks the blocks of a result file, one per language, and returns F1 by language.
fn check_file(
    folder: &Path,
    path: &Path,
    task: &str,
    system: &str,
) -> Result<BTreeMap<String, String>> {
    // The result files do not contain the threshold.
    let threshold = if task == "coverage" && system.starts_with("m-nta") { 2 } else { 1 };
    let config = NameConfig { threshold, ..NameConfig::default() };
    let text = read_text(path)?;
    let mut lines = numbered_lines(&text);
    let (mut scores, mut gold) = (BTreeMap::new(), Vec::new());
    let mut language = "";
    while let Some((number, line)) = lines.next() {
        let Some((kind, file)) = line
            .strip_prefix("- Loading ")
            .and_then(|line| line.strip_suffix("...")?.split_once(" from "))
        else {
            continue;
        };
        let gzip_path = folder.join(format!("{file}.gz"));
        let data = if gzip_path.exists() { gzip_path } else { folder.join(file) };
        if kind == "references" {
            let name = file.rsplit_once('/').map_or(file, |(_folder, name)| name);
            gold = read_gold(data)?;
            language = name.split_once('.').map_or(name, |(language, _)| language);
            continue;
        }
        let predicted = read_predicted(data, &config)?;
        let report = match task {
            "coverage" => score_coverage(&gold, &predicted)?.report(),
            _ => score_precision(&gold, &predicted)?.report(),
        };
        for computed in report.lines() {
            // A line that the file lacks differs from the computed one.
            let (number, printed) = lines.next().unwrap_or((number, ""));
            if printed != computed {
                let message = format!("printed `{printed}`, computed `{computed}`");
                return Err(Error::line(path, number, message));
            }
            let printed_score = printed.rsplit_once(' ').map_or(printed, |(_, score)| score);
            scores.insert(language.to_owned(), printed_score.to_owned());
        }
    }
    Ok(scores)
}

impl CoverageScore {
    /// Formats the lines that the authors' script prints after the file names.
    fn report(&self) -> String {
        let Self { precision, recall, f1, entities, predicted_entities, .. } = self;
        let [entities, predicted] = [entities, predicted_entities].map(format_count);
        format!(
            "  # of entities in the references: {entities}
  # of entities in the predictions: {predicted}
---------------------------
  Coverage - P  = {precision:.1}
  Coverage - R  = {recall:.1}
  Coverage - F1 = {f1:.1}"
        )
    }
}

impl PrecisionScore {
    /// Formats the lines that the authors' script prints after the file names.
    fn report(&self) -> String {
        let Self { accuracy, recall, f1, .. } = self;
        let [entities, gold, predicted] =
            [&self.entities, &self.gold_entities, &self.predicted_entities].map(format_count);
        let [incorrect, identified] = [&self.incorrect, &self.rejected_incorrect].map(format_count);
        let [correct, rejected] = [&self.correct, &self.rejected_correct].map(format_count);
        format!(
            "  # of entities: {entities}
  # of entities with correct names: {gold}
  # of entities with incorrect names: {gold}
  # of entities in the predictions: {predicted}
---------------------------
  Total incorrect names: {incorrect}
  Identified incorrect names: {identified}
  Total correct names: {correct}
  Correct names classified as incorrect: {rejected}
---------------------------
  Precision - P  = {accuracy:.1}
  Precision - R  = {recall:.1}
  Precision - F1 = {f1:.1}"
        )
    }
}

/// Formats a count below a million with a thousands separator, as in `1,000`.
fn format_count(count: &usize) -> String {
    match (count / 1000, count % 1000) {
        (0, low) => low.to_string(),
        (high, low) => format!("{high},{low:03}"),
    }
}
