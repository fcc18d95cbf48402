//! What a run leaves behind: tables beside the papers', comparisons with the baseline, and the
//! numbers of both.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::table::{Table, cell};
use experiment::{Experiment, Results, read_json};
use mlqa_eval::{
    Matrix, PairedTest, Resampling, SetSummary, holm, paired_test, set_tables, table_one,
};
use serde::Serialize;
use transfer_eval::{Measured, ResultTable, SeedRun, SeedSummary, Spread, mean, summarize_seeds};

use crate::recipe::{Recipe, model_of, task_of};
use crate::{ITEMS, Items, Tested, Trained};

type Cells = Results<Trained, Tested>;

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

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    seeds: &'a [u64],
    /// By task and model.
    tasks: BTreeMap<&'a str, BTreeMap<&'a str, Judged>>,
    /// Each model beside the baseline.
    comparisons: Vec<Comparison>,
    seconds: f64,
}

/// One model on one task over all seeds.
#[derive(Serialize)]
struct Judged {
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
pub fn write(experiment: &Experiment<Recipe>, results: &Cells) -> Result<()> {
    let mut tasks: BTreeMap<&str, BTreeMap<&str, Judged>> = BTreeMap::new();
    let (mut text, mut numbers) = (overview(experiment, results)?, Vec::new());
    for kind in &KINDS {
        let arms: Vec<&String> =
            experiment.arms().iter().filter(|arm| task_of(arm) == kind.task).collect();
        if arms.is_empty() {
            continue;
        }
        let mut summaries = Vec::new();
        for &arm in &arms {
            let (summary, judged) = judged(results, arm, kind)?;
            tasks.entry(kind.task).or_default().insert(model_of(arm), judged);
            summaries.push((model_of(arm), summary));
        }
        text.push_str(&languages(experiment, kind, &summaries));
        let of_task = measured(experiment, results, kind, &summaries);
        if let Some(id) = kind.table {
            let table = ResultTable::new(id, &of_task)?.to_markdown();
            text.push_str(&format!("\nBeside the printed table of XLM-K ({id}):\n\n{table}"));
        }
        if kind.task == "mlqa" {
            text.push_str(&question_tables(experiment, results, &arms));
        }
        numbers.extend(of_task);
    }
    let comparisons = comparisons(experiment)?;
    text.push_str(&compared(&comparisons));
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let (seeds, seconds) = (experiment.seeds(), results.seconds());
    Ok(experiment.finish(&Summary { seeds, tasks, comparisons, seconds }, &text, "")?)
}

fn judged(results: &Cells, arm: &str, kind: &Kind) -> Result<(SeedSummary, Judged)> {
    let runs: Vec<SeedRun> = results
        .of_arm(arm)
        .take(kind.seeds())
        .map(|one| SeedRun { seed: one.seed, metrics: one.evaluated.metrics.clone() })
        .collect();
    let metric = main_metric(&runs, kind);
    let summary = summarize_seeds(&runs, &metric)?;
    let mut metrics = summary.languages.clone();
    for (metric, spreads) in &mut metrics {
        spreads.extend(summary.average.get(metric).map(|&one| (AVERAGE.to_owned(), one)));
    }
    let judged = Judged {
        metrics,
        best_seed: summary.best.seed,
        epochs: results.of_arm(arm).filter_map(|one| one.trained.epoch).collect(),
        seconds: Spread::of(results.of_arm(arm).map(|one| one.seconds)).mean,
    };
    Ok((summary, judged))
}

/// The metric that counts; of facts in sets, that of the first set.
fn main_metric(runs: &[SeedRun], kind: &Kind) -> String {
    let metrics = runs.first().map(|run| &run.metrics);
    let exact = metrics.is_some_and(|metrics| metrics.contains_key(kind.metric));
    let first = metrics
        .and_then(|metrics| metrics.keys().find(|name| name.starts_with(kind.metric)).cloned());
    if exact { kind.metric.to_owned() } else { first.unwrap_or_else(|| kind.metric.to_owned()) }
}

/// A row for each model, a column for each task: the mean over languages.
fn overview(experiment: &Experiment<Recipe>, results: &Cells) -> Result<String> {
    let there = |kind: &&Kind| experiment.arms().iter().any(|arm| task_of(arm) == kind.task);
    let kinds: Vec<&Kind> = KINDS.iter().filter(there).collect();
    let columns = kinds.iter().map(|kind| format!("{} {}", kind.title, kind.metric));
    let mut table = Table::new("mean over languages", columns);
    let mut models: Vec<&str> = experiment.arms().iter().map(|arm| model_of(arm)).collect();
    models.sort_unstable();
    models.dedup();
    for model in models {
        let mut row = Vec::new();
        for kind in &kinds {
            let arm = format!("{}.{model}", kind.task);
            let there = results.of_arm(&arm).next().is_some();
            let summary = there.then(|| judged(results, &arm, kind)).transpose()?;
            let spread = summary.and_then(|(summary, _)| {
                let runs = [SeedRun { seed: 0, metrics: summary.best.metrics.clone() }];
                summary.average.get(&main_metric(&runs, kind)).map(|one| (one.mean, one.sd))
            });
            row.push(cell(spread));
        }
        table.row(model, row);
    }
    Ok(table.to_string())
}

/// A table for each metric: a row for each model, one more with its best seed where there are
/// several; English first.
fn languages(
    experiment: &Experiment<Recipe>,
    kind: &Kind,
    models: &[(&str, SeedSummary)],
) -> String {
    let several = experiment.seeds().len().min(kind.seeds()) > 1;
    let mut text = String::new();
    let metrics = models.iter().take(1).flat_map(|(_, one)| one.languages.keys());
    for metric in metrics {
        let codes = models.iter().filter_map(|(_, one)| one.languages.get(metric));
        let mut codes: Vec<&String> = codes.flat_map(BTreeMap::keys).collect();
        codes.sort_by_key(|code| (code.as_str() != "en", code.as_str()));
        codes.dedup();
        let columns = codes.iter().map(|code| code.as_str()).chain([AVERAGE]);
        let mut table = Table::new(format!("{}, {metric}", kind.title), columns);
        for (name, summary) in models {
            let spreads = summary.languages.get(metric);
            let of = |code: &&String| Some(spreads?.get(*code)?).map(|one| (one.mean, one.sd));
            let average = summary.average.get(metric).map(|one| (one.mean, one.sd));
            table.row(*name, codes.iter().map(of).chain([average]).map(cell));
            let best = summary.best.metrics.get(metric).filter(|_| several);
            if let Some(best) = best {
                let values = codes.iter().map(|code| best.get(*code).copied());
                table.row(format!("{name} (max)"), values.chain([mean(best)]).map(cell));
            }
        }
        text.push_str(&format!("\n{table}"));
    }
    text
}

/// The numbers of a task as the printed tables have them.
fn measured(
    experiment: &Experiment<Recipe>,
    results: &Cells,
    kind: &Kind,
    models: &[(&str, SeedSummary)],
) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for (model, summary) in models {
        let arm = format!("{}.{model}", kind.task);
        if kind.task == "lama" {
            let names = results.of_arm(&arm).flat_map(|one| one.evaluated.parts.keys());
            let mut names: Vec<&String> = names.collect();
            names.sort();
            names.dedup();
            for name in names {
                let cells = results.of_arm(&arm).take(kind.seeds());
                let values = cells.filter_map(|one| one.evaluated.parts.get(name));
                let spread = Spread::of(values.copied());
                let number = Measured::new(model, name, "en", kind.metric, spread.mean);
                numbers.push(Measured { sd: spread.sd, ..number });
            }
            continue;
        }
        let tasks = experiment.recipe.arms.get(&arm).map(|arm| &arm.tasks);
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
fn question_tables(experiment: &Experiment<Recipe>, results: &Cells, arms: &[&String]) -> String {
    let mut text = String::new();
    let (mut matrices, mut sets) = (Vec::new(), Vec::new());
    for &arm in arms {
        let seeds: Vec<Matrix> = experiment
            .seeds()
            .iter()
            .map(|&seed| {
                let files = results.of_cell(seed, arm).flat_map(|one| &one.evaluated.files);
                Matrix::of_files(model_of(arm), files)
            })
            .collect();
        matrices.push((model_of(arm), Matrix::over_seeds(model_of(arm), &seeds)));
        let files: Vec<_> = results.of_arm(arm).map(|one| one.evaluated.files.clone()).collect();
        sets.push((model_of(arm), SetSummary::over_seeds(&files)));
    }
    let first = arms.first().and_then(|arm| experiment.recipe.arms.get(*arm));
    let task = first.and_then(|arm| arm.tasks.mlqa.as_ref());
    if task.is_some_and(|task| task.data.all_pairs) {
        let matrices: Vec<(&str, Matrix)> = matrices;
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
        let test = paired_test(&pairs, &Resampling::default())?;
        let (task, model) = (task_of(arm).to_owned(), model_of(arm).to_owned());
        let (items, baseline) = (pairs.len(), baseline.clone());
        found.push(Comparison { task, model, baseline, items, test, p_holm: 1.0 });
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
