//! `mlqa-eval compare --data`: paired comparison of two runs.
use std::path::{Path, PathBuf};

use crate::{
    Dataset, Error, MeanInterval, Predictions, RunDifference, compare_runs, find_language_file,
    list_dataset_names,
};
use results::Table;

use super::Failure;
use super::score::{NormArg, ResamplingArgs};

/// Options for two runs and their questions.
#[derive(clap::Args)]
pub struct RunsArgs {
    /// Question file with gold answers, or a folder of files with MLQA names
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "table", requires_all = ["baseline", "predictions"])]
    data: Option<PathBuf>,
    /// Language code of contexts and answers, if --data is a file
    #[arg(long, value_name = "LANG", requires = "data")]
    language: Option<String>,
    /// Predictions of the first run, one file or folder per seed
    #[arg(long, value_name = "FILE|DIR,…", value_delimiter = ',', requires = "data")]
    baseline: Vec<PathBuf>,
    /// Predictions of the second run, one file or folder per seed
    #[arg(long, value_name = "FILE|DIR,…", value_delimiter = ',', requires = "data")]
    predictions: Vec<PathBuf>,
    /// Split: the first part of the file names, if --data is a folder
    #[arg(long, default_value = "test", requires = "data")]
    split: String,
    #[command(flatten)]
    norm: NormArg,
    #[command(flatten)]
    resampling: ResamplingArgs,
}

impl RunsArgs {
    /// Compares the two runs on every question file for which both runs have predictions.
    pub fn compare(&self) -> Result<Vec<RunDifference>, Failure> {
        let data = self.data.as_deref().unwrap_or(Path::new("-"));
        let config = self.resampling.config();
        let mut rows = Vec::new();
        let mut add = |label: &str, data: PathBuf, runs: [&[PathBuf]; 2], rules| {
            let dataset = Dataset::read(data)?;
            let (baseline, predictions) = (read_seeds(runs[0])?, read_seeds(runs[1])?);
            let runs = [&baseline[..], &predictions];
            rows.extend(compare_runs(label, &dataset, runs, rules, &config)?);
            Ok::<(), Error>(())
        };
        if data.is_dir() {
            for name in list_dataset_names(data, &self.split)? {
                let file = name.to_string();
                let files_of = |run: &[PathBuf]| -> Vec<PathBuf> {
                    run.iter().map(|folder| find_language_file(folder, &file)).collect()
                };
                let (baseline, predictions) =
                    (files_of(&self.baseline), files_of(&self.predictions));
                if baseline.iter().chain(&predictions).all(|path| path.exists()) {
                    let label = format!("context {}, question {}", name.context, name.question);
                    let rules = self.norm.rules(name.context)?;
                    add(&label, find_language_file(data, &file), [&baseline, &predictions], rules)?;
                }
            }
            if rows.is_empty() {
                let what = format!(
                    "{}-context-…-question-….json with predictions of both runs",
                    self.split
                );
                return Err(Error::NothingFound { what, path: data.to_path_buf() }.into());
            }
        } else {
            let rules = self.norm.rules_for(self.language.as_deref())?;
            let label = data.display().to_string();
            add(&label, data.to_path_buf(), [&self.baseline, &self.predictions], rules)?;
        }
        RunDifference::apply_holm(&mut rows);
        Ok(rows)
    }
}

/// Reads the predictions of each seed of a run.
fn read_seeds(seeds: &[PathBuf]) -> Result<Vec<Predictions>, Error> {
    seeds.iter().map(Predictions::read).collect()
}

/// Formats the rows as a Markdown table.
pub fn format_markdown(rows: &[RunDifference]) -> String {
    let columns = ["metric", "questions", "baseline", "predictions", "difference", "interval"];
    let p = ["p (randomisation)", "p (bootstrap)", "p (Holm)"];
    let mut table = Table::new("data", columns.into_iter().chain(p)).with_text_columns(&["metric"]);
    for row in rows {
        let score = |mean, half_width| MeanInterval { mean, half_width }.format(2);
        let cells = [
            row.metric.to_owned(),
            row.questions.to_string(),
            score(row.baseline, row.baseline_half_width),
            score(row.predictions, row.predictions_half_width),
            format!("{:+.2}", row.difference),
            format!("{:+.2} to {:+.2}", row.low, row.high),
        ];
        let p = [row.p_randomisation, row.p_bootstrap, row.p_holm].map(|p| format!("{p:.4}"));
        table.add_row(&row.data, cells.into_iter().chain(p));
    }
    table.to_string()
}
