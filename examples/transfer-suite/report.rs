//! What a run leaves behind: tables beside the papers', comparisons with the baseline, and the
//! numbers of both.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use experiment::{Experiment, Results, read_json};
use mlqa_eval::{
    Matrix, PairedTest, Resampling, SetSummary, holm, paired_test, set_tables, table_one,
};
use results::{Measured, PrintedTable, Spread, Table, cell, over_seeds};
use serde::Serialize;
use serde_json::json;
use transfer_eval::{SeedRun, SeedSummary, mean, summarize_seeds};

use crate::recipe::{Recipe, model_of, task_of};
use crate::{ITEMS, Items, Tested, Trained};

type Trials = Results<Trained, Tested>;

/// The mean over languages.
const AVERAGE: &str = "average";

/// A task as tables name it: what it is called, the metric that counts, XLM-K's table of it.
struct Kind {
    task: &'static str,
    title: &'static str,
    metric: &'static str,
    table: Option<&'static str>,
    /// Whether a model is trained for it; else every seed gives the same, and the first counts.
    trains: bool,
}

const KINDS: [Kind; 5] = [
    Kind { task: "mlqa", title: "MLQA", metric: "f1", table: Some("001-1"), trains: true },
    Kind { task: "ner", title: "NER", metric: "f1", table: Some("001-2"), trains: true },
    Kind { task: "xnli", title: "XNLI", metric: "accuracy", table: Some("001-3"), trains: true },
    Kind { task: "lama", title: "LAMA", metric: "p@1", table: Some("001-5"), trains: false },
    Kind { task: "facts", title: "facts", metric: "p@1", table: None, trains: false },
];

impl Kind {
    /// How many seeds count at most.
    fn seeds(&self) -> usize {
        if self.trains { usize::MAX } else { 1 }
    }
}

/// One model on one task over all seeds.
struct Judged<'a> {
    model: &'a str,
    arm: &'a str,
    /// The metric that counts; of facts in sets, that of the first set.
    metric: String,
    summary: SeedSummary,
}

/// The same in `summary.json`.
#[derive(Serialize)]
struct JudgedSummary {
    /// By metric and language; `average` is the mean over languages.
    #[serde(flatten)]
    metrics: BTreeMap<String, BTreeMap<String, Spread>>,
    best_seed: u64,
    epochs: Vec<usize>,
    /// The mean over seeds.
    seconds: f64,
}

/// A model less the baseline, over all items of a task's languages and seeds.
#[derive(Serialize)]
struct Comparison {
    task: String,
    model: String,
    baseline: String,
    items: usize,
    #[serde(flatten)]
    test: PairedTest,
    /// `p_randomisation`, adjusted for the number of comparisons (Holm 1979).
    p_holm: f64,
}

/// Writes the report and prints its first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Trials) -> Result<()> {
    let mut tasks = Vec::new();
    for kind in &KINDS {
        let arms = experiment.arms().iter().filter(|arm| task_of(arm) == kind.task);
        let models = arms.map(|arm| judged(results, arm, kind)).collect::<Result<Vec<_>>>()?;
        if !models.is_empty() {
            tasks.push((kind, models));
        }
    }
    let mut text = overview(experiment, &tasks);
    let mut numbers = Vec::new();
    for (kind, models) in &tasks {
        text.push_str(&languages(kind, models));
        let of_task = measured(experiment, results, kind, models);
        if let Some(id) = kind.table {
            let table = PrintedTable::new(id, &of_task)?.to_markdown();
            text.push_str(&format!("\nBeside the printed table of XLM-K ({id}):\n\n{table}"));
        }
        if kind.task == "mlqa" {
            text.push_str(&question_tables(experiment, results, models));
        }
        numbers.extend(of_task);
    }
    let comparisons = comparisons(experiment)?;
    text.push_str(&compared(&comparisons));
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    // By task and model.
    let of_task = |models: &[Judged]| -> BTreeMap<String, JudgedSummary> {
        models.iter().map(|one| (one.model.to_owned(), one.summary(results))).collect()
    };
    let tasks: BTreeMap<&str, _> =
        tasks.iter().map(|(kind, models)| (kind.task, of_task(models))).collect();
    let summary = json!({
        "seeds": experiment.seeds(),
        "tasks": tasks,
        // Each model beside the baseline.
        "comparisons": comparisons,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &text, "")?)
}

fn judged<'a>(results: &Trials, arm: &'a str, kind: &Kind) -> Result<Judged<'a>> {
    let runs: Vec<SeedRun> = results
        .of_arm(arm)
        .take(kind.seeds())
        .map(|one| SeedRun { seed: one.seed, metrics: one.evaluated.metrics.clone() })
        .collect();
    let mut metrics = runs.iter().flat_map(|run| run.metrics.keys());
    let metric = metrics.find(|name| name.starts_with(kind.metric));
    let metric = metric.map_or_else(|| kind.metric.to_owned(), String::clone);
    let summary = summarize_seeds(&runs, &metric)?;
    Ok(Judged { model: model_of(arm), arm, metric, summary })
}

impl Judged<'_> {
    fn summary(&self, results: &Trials) -> JudgedSummary {
        let mut metrics = self.summary.languages.clone();
        for (metric, spreads) in &mut metrics {
            let average = self.summary.average.get(metric);
            spreads.extend(average.map(|&one| (AVERAGE.to_owned(), one)));
        }
        let trials = || results.of_arm(self.arm);
        JudgedSummary {
            metrics,
            best_seed: self.summary.best.seed,
            epochs: trials().filter_map(|one| one.trained.epoch).collect(),
            seconds: Spread::of(trials().map(|one| one.seconds)).mean,
        }
    }
}

/// A row for each model, a column for each task: the mean over languages.
fn overview(experiment: &Experiment<Recipe>, tasks: &[(&Kind, Vec<Judged>)]) -> String {
    let columns = tasks.iter().map(|(kind, _)| format!("{} {}", kind.title, kind.metric));
    let mut table = Table::new("mean over languages", columns);
    let models: BTreeSet<&str> = experiment.arms().iter().map(|arm| model_of(arm)).collect();
    for model in models {
        let mean = |(_, models): &(&Kind, Vec<Judged>)| {
            let own = models.iter().find(|one| one.model == model)?;
            own.summary.average.get(&own.metric).copied()
        };
        table.row(model, tasks.iter().map(mean).map(cell));
    }
    table.to_string()
}

/// A table for each metric: a row for each model, one more with its best seed where there are
/// several; English first.
fn languages(kind: &Kind, models: &[Judged]) -> String {
    let mut text = String::new();
    for metric in models.iter().take(1).flat_map(|one| one.summary.languages.keys()) {
        let codes = models.iter().filter_map(|one| one.summary.languages.get(metric));
        let mut codes: Vec<&String> = codes.flat_map(BTreeMap::keys).collect();
        codes.sort_by_key(|code| (code.as_str() != "en", code.as_str()));
        codes.dedup();
        let columns = codes.iter().map(|code| code.as_str()).chain([AVERAGE]);
        let mut table = Table::new(format!("{}, {metric}", kind.title), columns);
        for Judged { model, summary, .. } in models {
            let spreads = summary.languages.get(metric);
            let of = |code: &&String| spreads?.get(*code);
            table.row(*model, codes.iter().map(of).chain([summary.average.get(metric)]).map(cell));
            if let Some(best) = summary.best.metrics.get(metric).filter(|_| summary.runs > 1) {
                let values = codes.iter().map(|code| best.get(*code).copied()).chain([mean(best)]);
                let values = values.map(|value| cell(value.map(Spread::from)));
                table.row(format!("{model} (max)"), values);
            }
        }
        text.push_str(&format!("\n{table}"));
    }
    text
}

/// The numbers of a task as the printed tables have them.
fn measured(
    experiment: &Experiment<Recipe>,
    results: &Trials,
    kind: &Kind,
    models: &[Judged],
) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for Judged { model, arm, summary, .. } in models {
        if kind.task == "lama" {
            let trials = results.of_arm(arm).take(kind.seeds());
            let parts = over_seeds(trials.map(|one| &one.evaluated.parts));
            let number = |(name, value)| Measured::new(model, name, "en", kind.metric, value);
            numbers.extend(parts.iter().map(|(name, value)| number((name, *value))));
            continue;
        }
        let tasks = experiment.recipe.arms.get(*arm).map(|arm| &arm.tasks);
        let name = tasks.and_then(|tasks| tasks.data_name()).unwrap_or(kind.title);
        let mut rows = summary.measured(model, name);
        // What the papers' tables have.
        rows.retain(|row| row.metric == kind.metric || (kind.task == "mlqa" && row.metric == "em"));
        numbers.extend(rows);
    }
    numbers
}

/// Table I of *Bridging the Language Gap*, where contexts and questions differ in language, and the
/// tables of *From Good to Best*.
fn question_tables(experiment: &Experiment<Recipe>, results: &Trials, models: &[Judged]) -> String {
    let mut matrices = Vec::new();
    let mut sets = Vec::new();
    for &Judged { model, arm, .. } in models {
        let files: Vec<_> = results.of_arm(arm).map(|one| one.evaluated.files.as_slice()).collect();
        let seeds: Vec<Matrix> =
            files.iter().map(|files| Matrix::of_files(model, *files)).collect();
        matrices.push((model, Matrix::over_seeds(model, &seeds)));
        sets.push((model, SetSummary::over_seeds(&files)));
    }
    let mut text = String::new();
    let first = models.first().and_then(|one| experiment.recipe.arms.get(one.arm));
    let task = first.and_then(|arm| arm.tasks.mlqa.as_ref());
    if task.is_some_and(|task| task.data.all_pairs) {
        text.push_str(&format!("\n{}", table_one(&matrices)));
    }
    let sets: Vec<(&str, &SetSummary)> = sets.iter().map(|(name, set)| (*name, set)).collect();
    text.push_str(&set_tables(task.map_or("MLQA", |task| task.data.name.as_str()), &sets));
    text
}

fn comparisons(experiment: &Experiment<Recipe>) -> Result<Vec<Comparison>> {
    let baseline = &experiment.recipe.baseline;
    let mut found: Vec<Comparison> = Vec::new();
    for arm in experiment.arms().iter().filter(|arm| model_of(arm) != baseline) {
        let other = format!("{}.{baseline}", task_of(arm));
        if !experiment.arms().contains(&other) {
            continue;
        }
        let kind = KINDS.iter().find(|kind| kind.task == task_of(arm));
        let seeds = kind.map_or(usize::MAX, Kind::seeds);
        let mut pairs = Vec::new();
        for seed in experiment.seeds().iter().take(seeds) {
            let items = |arm: &str| -> Result<Items> {
                let path = experiment.dir(format!("seed-{seed}")).join(arm).join(ITEMS);
                Ok(read_json(path)?)
            };
            let (first, second) = (items(&other)?, items(arm)?);
            for (language, values) in &first {
                let own = second.get(language).context("another test set")?;
                anyhow::ensure!(own.len() == values.len(), "{arm} and {other} differ in items");
                pairs.extend(values.iter().copied().zip(own.iter().copied()));
            }
        }
        found.push(Comparison {
            task: task_of(arm).to_owned(),
            model: model_of(arm).to_owned(),
            baseline: baseline.clone(),
            items: pairs.len(),
            test: paired_test(&pairs, &Resampling::default())?,
            p_holm: 1.0,
        });
    }
    let adjusted = holm(&found.iter().map(|one| one.test.p_randomisation).collect::<Vec<_>>());
    for (one, p_holm) in found.iter_mut().zip(adjusted) {
        one.p_holm = p_holm;
    }
    Ok(found)
}

fn compared(all: &[Comparison]) -> String {
    let Some(first) = all.first() else { return String::new() };
    let columns = ["difference", "95 % interval", "p", "p, Holm", "items"];
    let mut table = Table::new(format!("less {}, item by item", first.baseline), columns);
    for one in all {
        let interval = &one.test.difference;
        table.row(
            format!("{}, {}", one.task, one.model),
            [
                format!("{:+.2}", interval.mean),
                format!("{:+.2} to {:+.2}", interval.low, interval.high),
                format!("{:.4}", one.test.p_randomisation),
                format!("{:.4}", one.p_holm),
                one.items.to_string(),
            ],
        );
    }
    format!(
        "\n{table}\nAn item is a question's F1, a pair or a fact answered right, or a sentence \
         tagged without an error, in percent. p is of approximate randomisation over items of all \
         languages and seeds, taken for independent.\n"
    )
}
