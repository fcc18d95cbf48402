//! Report of a run: its tables, the papers' tables for comparison, and the values.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use results::{
    AVERAGE, MeanInterval, Measured, PrintedTable, SeedSummary, Table, cell, over_seeds,
};
use serde::Serialize;
use serde_json::json;

use crate::Trained;
use crate::benchmark::TestResults;
use crate::lama::BASELINE_ROWS;
use crate::recipe::{Recipe, model_of, task_of};
use crate::suite::{BENCHMARKS, Row};

type Trials = Results<Trained, TestResults>;

/// Results of a model on a task over all seeds.
struct TaskResults<'a> {
    model: &'a str,
    arm: &'a str,
    /// The metric to compare; with several sets of facts, the metric of the first set.
    metric: String,
    summary: SeedSummary,
}

/// Results of a model on a task in `summary.json`.
#[derive(Serialize)]
struct TaskSummary<'a> {
    /// Scores by metric and language; `average` is the mean over languages.
    #[serde(flatten)]
    scores: &'a BTreeMap<String, BTreeMap<String, MeanInterval>>,
    best_seed: u64,
    /// The selected epoch of each seed, if an epoch was selected.
    epochs: Vec<usize>,
    /// Mean time over seeds in seconds.
    seconds: f64,
}

/// Writes the report and prints its first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Trials) -> Result<()> {
    let mut tasks = Vec::new();
    for row in BENCHMARKS {
        let arms = experiment.arms().iter().filter(|arm| task_of(arm) == row.name);
        let models = arms.map(|arm| task_results(results, arm, row)).collect::<Result<Vec<_>>>()?;
        if !models.is_empty() {
            tasks.push((row, models));
        }
    }
    let mut text = overview(experiment, &tasks);
    let mut numbers = Vec::new();
    for (row, models) in &tasks {
        text.push_str(&language_tables(row, models));
        let task_numbers = measured(experiment, results, row, models);
        if let Some(id) = row.printed_table {
            let table = PrintedTable::new(id, &task_numbers)?.to_markdown();
            text.push_str(&format!("\nResults and printed table of XLM-K ({id}):\n\n{table}"));
        }
        numbers.extend(task_numbers);
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let mut summaries = BTreeMap::new();
    for (row, models) in &tasks {
        let model_summaries = models.iter().map(|task| (task.model, task.summary(results)));
        summaries.insert(row.name, model_summaries.collect::<BTreeMap<&str, TaskSummary>>());
    }
    let summary = json!({
        "seeds": experiment.seeds(),
        "tasks": summaries,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &text, "")?)
}

fn task_results<'a>(results: &Trials, arm: &'a str, row: &Row) -> Result<TaskResults<'a>> {
    let trials = || results.of_arm(arm).take(row.max_seeds());
    let mut metrics = trials().flat_map(|trial| trial.evaluated.metrics.keys());
    let metric = metrics.find(|name| name.starts_with(row.metric));
    let metric = metric.map_or(row.metric, String::as_str).to_owned();
    let seeds = trials().map(|trial| (trial.seed, trial.evaluated.metrics.clone()));
    let summary = SeedSummary::of(seeds, &metric).context("no seed was run")?;
    Ok(TaskResults { model: model_of(arm), arm, metric, summary })
}

impl TaskResults<'_> {
    fn summary(&self, results: &Trials) -> TaskSummary<'_> {
        TaskSummary {
            scores: &self.summary.scores,
            best_seed: self.summary.best_seed,
            epochs: results.of_arm(self.arm).filter_map(|trial| trial.trained.epoch).collect(),
            seconds: results.over_seeds(self.arm, |trial| trial.seconds).mean,
        }
    }
}

/// Creates a table of means over languages: a row for each model, a column for each task.
fn overview(experiment: &Experiment<Recipe>, tasks: &[(&Row, Vec<TaskResults>)]) -> String {
    let columns = tasks.iter().map(|(row, _)| format!("{} {}", row.title, row.metric));
    let mut table = Table::new("mean over languages", columns);
    let models: BTreeSet<&str> = experiment.arms().iter().map(|arm| model_of(arm)).collect();
    for model in models {
        let mean = |(_, models): &(&Row, Vec<TaskResults>)| {
            let task = models.iter().find(|task| task.model == model)?;
            task.summary.scores.get(&task.metric)?.get(AVERAGE).copied()
        };
        table.add_row(model, tasks.iter().map(mean).map(cell));
    }
    table.to_string()
}

/// Creates a table for each metric. The rows are the mean of each model, the best seed of each
/// model if there are several seeds, and the baselines. English is the first column, and the
/// average is the last.
fn language_tables(row: &Row, models: &[TaskResults]) -> String {
    let mut text = String::new();
    let Some(first) = models.first() else { return text };
    let is_baseline =
        |metric: &str| BASELINE_ROWS.iter().any(|(suffix, _)| metric.ends_with(suffix));
    for metric in first.summary.scores.keys().filter(|metric| !is_baseline(metric)) {
        let codes = models.iter().filter_map(|task| task.summary.scores.get(metric));
        let mut codes: Vec<&String> = codes.flat_map(BTreeMap::keys).collect();
        codes.sort_by_key(|&code| (code == AVERAGE, code != "en", code));
        codes.dedup();
        let mut table = Table::new(format!("{}, {metric}", row.title), codes.iter().copied());
        for TaskResults { model, summary, .. } in models {
            let intervals = summary.scores.get(metric);
            table.add_row(
                *model,
                codes.iter().map(|&code| cell(intervals.and_then(|s| s.get(code)))),
            );
            if let Some(best) = summary.best.get(metric).filter(|_| summary.seeds.len() > 1) {
                let value = |&code: &&String| cell(best.get(code).copied().map(MeanInterval::from));
                table.add_row(format!("{model} (max)"), codes.iter().map(value));
            }
        }
        // The baselines depend only on the tokenizer, so only the first model's baselines are
        // shown.
        for (suffix, title) in BASELINE_ROWS {
            if let Some(baseline_scores) = first.summary.scores.get(&format!("{metric}{suffix}")) {
                table.add_row(title, codes.iter().map(|&code| cell(baseline_scores.get(code))));
            }
        }
        text.push_str(&format!("\n{table}"));
    }
    text
}

/// Returns the values of a task in the form of the printed tables.
fn measured(
    experiment: &Experiment<Recipe>,
    results: &Trials,
    row: &Row,
    models: &[TaskResults],
) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for (index, TaskResults { model, arm, summary, .. }) in models.iter().enumerate() {
        if row.name == "lama" {
            let trials = results.of_arm(arm).take(row.max_seeds());
            let parts = over_seeds(trials.map(|trial| &trial.evaluated.parts));
            let measured_part = |(name, value): (&String, &MeanInterval)| {
                Measured::new(model, name, "en", row.metric, *value)
            };
            numbers.extend(parts.iter().map(measured_part));
            continue;
        }
        let task = experiment.recipe.arms.get(*arm).and_then(|arm| arm.tasks.single().ok());
        let name = task.map(|(_, task)| task.info().name).filter(|name| !name.is_empty());
        let name = name.unwrap_or(row.title);
        for measured in summary.measured(model, name) {
            let baseline_row = BASELINE_ROWS.iter().find_map(|(suffix, title)| {
                Some((measured.metric.strip_suffix(suffix)?.to_owned(), (*title).to_owned()))
            });
            // Only the metrics of the papers' tables and all metrics of facts are reported.
            let is_reported = measured.metric == row.metric
                || row.name == "facts"
                || (row.name == "mlqa" && measured.metric == "em");
            match baseline_row {
                Some((metric, model)) if index == 0 => {
                    numbers.push(Measured { model, metric, ..measured });
                }
                None if is_reported => numbers.push(measured),
                _ => {}
            }
        }
    }
    numbers
}
