//! `mlqa-eval compare --data`: two runs, question by question.
use std::path::{Path, PathBuf};

use crate::{
    Dataset, Error, PairedTest, Predictions, QuestionScore, Resampling, Spread, holm,
    language_file, paired_test, score,
};
use results::Table;
use serde::Serialize;

use super::Stop;
use super::matrix::names;
use super::score::{NormArg, ResamplingArgs};

/// Two runs and the questions that they answer.
#[derive(clap::Args)]
pub struct RunsArgs {
    /// Questions with gold answers, or a folder of MLQA-named ones
    #[arg(long, value_name = "FILE|DIR", conflicts_with = "table", requires_all = ["baseline", "predictions"])]
    data: Option<PathBuf>,
    /// Language of context and answer in a file of --data
    #[arg(long, value_name = "LANG", requires = "data")]
    language: Option<String>,
    /// Predictions of the first run; several are its seeds
    #[arg(long, value_name = "FILE|DIR,…", value_delimiter = ',', requires = "data")]
    baseline: Vec<PathBuf>,
    /// Predictions of the second run
    #[arg(long, value_name = "FILE|DIR,…", value_delimiter = ',', requires = "data")]
    predictions: Vec<PathBuf>,
    /// The first word of the names in a folder
    #[arg(long, default_value = "test", requires = "data")]
    split: String,
    #[command(flatten)]
    norm: NormArg,
    #[command(flatten)]
    resampling: ResamplingArgs,
}

/// One metric of one question file, in percent.
#[derive(Serialize)]
pub struct Row {
    data: String,
    metric: &'static str,
    questions: usize,
    baseline: f64,
    baseline_sd: Option<f64>,
    predictions: f64,
    predictions_sd: Option<f64>,
    difference: f64,
    low: f64,
    high: f64,
    p_randomisation: f64,
    p_bootstrap: f64,
    p_holm: f64,
}

/// A metric of one question, in percent.
type Value = fn(&QuestionScore) -> f64;

const METRICS: [(&str, Value); 2] =
    [("f1", |one| 100.0 * one.f1), ("em", |one| 100.0 * f64::from(u8::from(one.exact_match)))];

impl RunsArgs {
    /// Compares every question file that both runs have predictions for.
    pub fn compare(&self) -> Result<Vec<Row>, Stop> {
        let data = self.data.as_deref().unwrap_or(Path::new("-"));
        let config = self.resampling.config();
        let mut rows = Vec::new();
        if data.is_dir() {
            for name in names(data, &self.split)? {
                let file = name.to_string();
                let of = |run: &[PathBuf]| -> Vec<PathBuf> {
                    run.iter().map(|folder| language_file(folder, &file)).collect()
                };
                let (baseline, predictions) = (of(&self.baseline), of(&self.predictions));
                if baseline.iter().chain(&predictions).all(|path| path.exists()) {
                    let rules = self.norm.rules(name.context);
                    let dataset = Dataset::read(language_file(data, &file))?;
                    let label = format!("context {}, question {}", name.context, name.question);
                    rows.extend(compare(
                        &label,
                        &dataset,
                        rules,
                        [&baseline, &predictions],
                        config,
                    )?);
                }
            }
            if rows.is_empty() {
                let what = format!("{}-context-…-question-….json that both runs have,", self.split);
                return Err(Error::NothingFound { what, path: data.to_path_buf() }.into());
            }
        } else {
            let rules = self.norm.rules_for(self.language.as_deref())?;
            let (dataset, label) = (Dataset::read(data)?, data.display().to_string());
            let runs = [&self.baseline[..], &self.predictions[..]];
            rows.extend(compare(&label, &dataset, rules, runs, config)?);
        }
        for (metric, _) in METRICS {
            let mut own: Vec<&mut Row> =
                rows.iter_mut().filter(|row| row.metric == metric).collect();
            let p: Vec<f64> = own.iter().map(|row| row.p_randomisation).collect();
            own.iter_mut().zip(holm(&p)).for_each(|(row, p)| row.p_holm = p);
        }
        Ok(rows)
    }
}

/// A row for each metric.
fn compare(
    data: &str,
    dataset: &Dataset,
    rules: crate::Normalization,
    runs: [&[PathBuf]; 2],
    config: Resampling,
) -> Result<Vec<Row>, Stop> {
    dataset.check_scorable()?;
    let scores = |paths: &[PathBuf]| -> Result<Vec<Vec<QuestionScore>>, Error> {
        let seed = |path| Ok(score(dataset, &Predictions::read(path)?, rules)?.per_question);
        paths.iter().map(seed).collect()
    };
    let [first, second] = [scores(runs[0])?, scores(runs[1])?];
    let mut rows = Vec::new();
    for (metric, value) in METRICS {
        // The mean of each question over seeds, and of each seed over questions.
        let by_question = |seeds: &[Vec<QuestionScore>]| -> Vec<f64> {
            let of =
                |k: usize| Spread::of(seeds.iter().filter_map(|seed| seed.get(k)).map(value)).mean;
            (0..dataset.questions.len()).map(of).collect()
        };
        let by_seed = |seeds: &[Vec<QuestionScore>]| {
            Spread::of(seeds.iter().map(|seed| Spread::of(seed.iter().map(value)).mean))
        };
        let pairs: Vec<(f64, f64)> =
            by_question(&first).into_iter().zip(by_question(&second)).collect();
        let PairedTest { difference, p_randomisation, p_bootstrap } = paired_test(&pairs, &config)?;
        let [baseline, predictions] = [by_seed(&first), by_seed(&second)];
        rows.push(Row {
            data: data.to_owned(),
            metric,
            questions: pairs.len(),
            baseline: baseline.mean,
            baseline_sd: baseline.sd,
            predictions: predictions.mean,
            predictions_sd: predictions.sd,
            difference: difference.mean,
            low: difference.low,
            high: difference.high,
            p_randomisation,
            p_bootstrap,
            p_holm: p_randomisation,
        });
    }
    Ok(rows)
}

/// The rows as a table.
pub fn markdown(rows: &[Row]) -> String {
    let columns = ["metric", "questions", "baseline", "predictions", "difference", "interval"];
    let p = ["p (randomisation)", "p (bootstrap)", "p (Holm)"];
    let mut table = Table::new("data", columns.into_iter().chain(p)).with_text(&["metric"]);
    for row in rows {
        let score = |mean, sd| Spread { mean, sd }.text(2);
        let cells = [
            row.metric.to_owned(),
            row.questions.to_string(),
            score(row.baseline, row.baseline_sd),
            score(row.predictions, row.predictions_sd),
            format!("{:+.2}", row.difference),
            format!("{:+.2} to {:+.2}", row.low, row.high),
        ];
        let p = [row.p_randomisation, row.p_bootstrap, row.p_holm].map(|p| format!("{p:.4}"));
        table.row(&row.data, cells.into_iter().chain(p));
    }
    table.to_string()
}
