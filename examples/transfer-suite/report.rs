//! Report of a run: tables next to the papers' tables, comparisons with the baseline, and their
//! values.
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use experiment::{Experiment, Results, read_json};
use mlqa_eval::{PairedTest, Resampling, holm, paired_test};
use results::{AVERAGE, Measured, PrintedTable, SeedSummary, Spread, Table, cell, over_seeds};
use serde::Serialize;
use serde_json::json;

use crate::benchmark::{BASELINE_ROWS, BENCHMARKS, Items, Row, Tested};
use crate::recipe::{Recipe, model_of, task_of};
use crate::{ITEMS, Trained};

type Trials = Results<Trained, Tested>;

/// Results of a model on a task over all seeds.
struct Evaluated<'a> {
    model: &'a str,
    arm: &'a str,
    /// The metric to compare; with several sets of facts, the metric of the first set.
    metric: String,
    summary: SeedSummary,
}

/// The results in `summary.json`.
#[derive(Serialize)]
struct EvaluatedSummary<'a> {
    /// By metric and language; `average` is the mean over languages.
    #[serde(flatten)]
    scores: &'a BTreeMap<String, BTreeMap<String, Spread>>,
    best_seed: u64,
    epochs: Vec<usize>,
    /// The mean over seeds.
    seconds: f64,
}

/// Difference of a model from the baseline over the items of a task.
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
    for row in BENCHMARKS {
        let arms = experiment.arms().iter().filter(|arm| task_of(arm) == row.name);
        let models = arms.map(|arm| evaluated(results, arm, row)).collect::<Result<Vec<_>>>()?;
        if !models.is_empty() {
            tasks.push((row, models));
        }
    }
    let mut text = overview(experiment, &tasks);
    let mut numbers = Vec::new();
    for (row, models) in &tasks {
        text.push_str(&language_tables(row, models));
        let task_numbers = measured(experiment, results, row, models);
        if let Some(id) = row.printed {
            let table = PrintedTable::new(id, &task_numbers)?.to_markdown();
            text.push_str(&format!("\nBeside the printed table of XLM-K ({id}):\n\n{table}"));
        }
        numbers.extend(task_numbers);
    }
    let comparisons = comparisons(experiment)?;
    text.push_str(&comparison_table(&comparisons));
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let mut evaluated = BTreeMap::new();
    for (row, models) in &tasks {
        let task_numbers = models.iter().map(|one| (one.model, one.summary(results)));
        evaluated.insert(row.name, task_numbers.collect::<BTreeMap<&str, EvaluatedSummary>>());
    }
    let summary = json!({
        "seeds": experiment.seeds(),
        "tasks": evaluated,
        // Comparisons of each model with the baseline.
        "comparisons": comparisons,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &text, "")?)
}

fn evaluated<'a>(results: &Trials, arm: &'a str, row: &Row) -> Result<Evaluated<'a>> {
    let trials = || results.of_arm(arm).take(row.seeds());
    let mut metrics = trials().flat_map(|one| one.evaluated.metrics.keys());
    let metric = metrics.find(|name| name.starts_with(row.metric));
    let metric = metric.map_or(row.metric, String::as_str).to_owned();
    let seeds = trials().map(|one| (one.seed, one.evaluated.metrics.clone()));
    let summary = SeedSummary::of(seeds, &metric).context("no seed was run")?;
    Ok(Evaluated { model: model_of(arm), arm, metric, summary })
}

impl Evaluated<'_> {
    fn summary(&self, results: &Trials) -> EvaluatedSummary<'_> {
        EvaluatedSummary {
            scores: &self.summary.scores,
            best_seed: self.summary.best_seed,
            epochs: results.of_arm(self.arm).filter_map(|one| one.trained.epoch).collect(),
            seconds: results.over_seeds(self.arm, |one| one.seconds).mean,
        }
    }
}

/// Creates a table of means over languages: a row for each model, a column for each task.
fn overview(experiment: &Experiment<Recipe>, tasks: &[(&Row, Vec<Evaluated>)]) -> String {
    let columns = tasks.iter().map(|(row, _)| format!("{} {}", row.title, row.metric));
    let mut table = Table::new("mean over languages", columns);
    let models: BTreeSet<&str> = experiment.arms().iter().map(|arm| model_of(arm)).collect();
    for model in models {
        let mean = |(_, models): &(&Row, Vec<Evaluated>)| {
            let one = models.iter().find(|one| one.model == model)?;
            one.summary.scores.get(&one.metric)?.get(AVERAGE).copied()
        };
        table.row(model, tasks.iter().map(mean).map(cell));
    }
    table.to_string()
}

/// Creates a table for each metric. Rows are the models, the best seed of each model if there are
/// several seeds, and the baselines. English is the first column, the average the last.
fn language_tables(row: &Row, models: &[Evaluated]) -> String {
    let mut text = String::new();
    let Some(first) = models.first() else { return text };
    let is_baseline =
        |metric: &str| BASELINE_ROWS.iter().any(|(ending, _)| metric.ends_with(ending));
    for metric in first.summary.scores.keys().filter(|metric| !is_baseline(metric)) {
        let codes = models.iter().filter_map(|one| one.summary.scores.get(metric));
        let mut codes: Vec<&String> = codes.flat_map(BTreeMap::keys).collect();
        codes.sort_by_key(|&code| (code == AVERAGE, code != "en", code));
        codes.dedup();
        let mut table = Table::new(format!("{}, {metric}", row.title), codes.iter().copied());
        for Evaluated { model, summary, .. } in models {
            let spreads = summary.scores.get(metric);
            table.row(*model, codes.iter().map(|&code| cell(spreads.and_then(|of| of.get(code)))));
            if let Some(best) = summary.best.get(metric).filter(|_| summary.seeds.len() > 1) {
                let value = |&code: &&String| cell(best.get(code).copied().map(Spread::from));
                table.row(format!("{model} (max)"), codes.iter().map(value));
            }
        }
        // The baselines depend only on the tokenizer. Those of the first model are shown.
        for (ending, title) in BASELINE_ROWS {
            if let Some(baseline_scores) = first.summary.scores.get(&format!("{metric}{ending}")) {
                table.row(title, codes.iter().map(|&code| cell(baseline_scores.get(code))));
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
    models: &[Evaluated],
) -> Vec<Measured> {
    let mut numbers = Vec::new();
    for (at, Evaluated { model, arm, summary, .. }) in models.iter().enumerate() {
        if row.name == "lama" {
            let trials = results.of_arm(arm).take(row.seeds());
            let parts = over_seeds(trials.map(|one| &one.evaluated.parts));
            let number = |(name, value): (&String, &Spread)| {
                Measured::new(model, name, "en", row.metric, *value)
            };
            numbers.extend(parts.iter().map(number));
            continue;
        }
        let task = experiment.recipe.arms.get(*arm).and_then(|arm| arm.tasks.single().ok());
        let name = task.map(|(_, task)| task.common().name).filter(|name| !name.is_empty());
        let name = name.unwrap_or(row.title);
        for one in summary.measured(model, name) {
            let baseline_row = BASELINE_ROWS.iter().find_map(|(ending, title)| {
                Some((one.metric.strip_suffix(ending)?.to_owned(), (*title).to_owned()))
            });
            // Values in the papers' tables, and facts of every set.
            let counts = one.metric == row.metric
                || row.name == "facts"
                || (row.name == "mlqa" && one.metric == "em");
            match baseline_row {
                Some((metric, model)) if at == 0 => {
                    numbers.push(Measured { model, metric, ..one });
                }
                None if counts => numbers.push(one),
                _ => {}
            }
        }
    }
    numbers
}

fn comparisons(experiment: &Experiment<Recipe>) -> Result<Vec<Comparison>> {
    let baseline = &experiment.recipe.baseline;
    let mut comparisons: Vec<Comparison> = Vec::new();
    for arm in experiment.arms().iter().filter(|arm| model_of(arm) != baseline) {
        let baseline_arm = format!("{}.{baseline}", task_of(arm));
        if !experiment.arms().contains(&baseline_arm) {
            continue;
        }
        let row = BENCHMARKS.iter().find(|row| row.name == task_of(arm));
        let seeds = row.map_or(usize::MAX, Row::seeds);
        let mut pairs = ItemPairs::default();
        for seed in experiment.seeds().iter().take(seeds) {
            let items = |arm: &str| -> Result<Items> {
                let path = experiment.dir(format!("seed-{seed}")).join(arm).join(ITEMS);
                Ok(read_json(path)?)
            };
            pairs
                .add(&items(&baseline_arm)?, &items(arm)?)
                .with_context(|| format!("{arm} and {baseline_arm}"))?;
        }
        let pairs = pairs.means();
        comparisons.push(Comparison {
            task: task_of(arm).to_owned(),
            model: model_of(arm).to_owned(),
            baseline: baseline.clone(),
            items: pairs.len(),
            test: paired_test(&pairs, &Resampling::default())?,
            p_holm: 1.0,
        });
    }
    let adjusted =
        holm(&comparisons.iter().map(|one| one.test.p_randomisation).collect::<Vec<_>>());
    for (one, p_holm) in comparisons.iter_mut().zip(adjusted) {
        one.p_holm = p_holm;
    }
    Ok(comparisons)
}

/// Two models' values of each item, summed over seeds and translations, and the number of values.
#[derive(Default)]
struct ItemPairs(BTreeMap<(Option<String>, usize), ([f64; 2], f64)>);

impl ItemPairs {
    /// Adds the values of a seed. If the tests of all languages have the same length, they are
    /// translations of each other in the same order, so that values with the same index belong to
    /// one item.
    fn add(&mut self, first: &Items, second: &Items) -> Result<()> {
        let mut lengths = first.values().map(Vec::len);
        let length = lengths.next();
        let parallel = lengths.all(|other| Some(other) == length);
        for (language, values) in first {
            let compared = second.get(language).context("different test languages")?;
            ensure!(compared.len() == values.len(), "{language}: different numbers of items");
            let item_language = (!parallel).then(|| language.clone());
            for (index, values) in values.iter().zip(compared).enumerate() {
                let (sums, count) = self.0.entry((item_language.clone(), index)).or_default();
                sums.iter_mut().zip([values.0, values.1]).for_each(|(sum, value)| *sum += value);
                *count += 1.0;
            }
        }
        Ok(())
    }

    fn means(&self) -> Vec<(f64, f64)> {
        self.0.values().map(|([first, second], count)| (first / count, second / count)).collect()
    }
}

fn comparison_table(all: &[Comparison]) -> String {
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
        "\n{table}\nAn item is a question's F1, or whether a pair, a fact or all tags of a sentence are \
         correct, in percent. It is averaged over seeds, and over languages if their tests are \
         translations of each other. p: approximate randomisation over items.\n"
    )
}
