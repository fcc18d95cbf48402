//! What a run leaves behind: `summary.json`, `table.md`, and the numbers for the paper's table.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{Table, cell};
use experiment::{Experiment, Results};
use serde::{Deserialize, Serialize};
use transfer_eval::{Measured, Scores, SeedRun, Spread, mean, summarize_seeds};

use crate::recipe::Recipe;

/// The mean over languages.
pub const AVERAGE: &str = "average";

/// What training alone knows; numbers in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Trained {
    /// The epoch that was chosen, from 1.
    pub epoch: usize,
    /// F1 on the development sets after each epoch.
    pub dev: Vec<Scores>,
}

/// `f1`, `precision` and `recall` on the test sets, in percent.
pub type Metrics = BTreeMap<String, Scores>;

/// `summary.json`.
#[derive(Serialize)]
struct Summary<'a> {
    seeds: &'a [u64],
    /// By the name of the start.
    starts: BTreeMap<&'a str, Start>,
    /// Seconds of all starts and seeds.
    seconds: f64,
}

/// One start over all seeds.
#[derive(Serialize)]
struct Start {
    /// `f1`, `precision` and `recall` by language; `average` is the mean over languages.
    #[serde(flatten)]
    metrics: BTreeMap<String, BTreeMap<String, Spread>>,
    /// The single seed with the best average.
    max: Best,
    /// The epochs chosen, in the order of the seeds.
    epochs: Vec<usize>,
    /// The mean over seeds.
    seconds: f64,
}

#[derive(Serialize)]
struct Best {
    seed: u64,
    /// By language, and `average`.
    f1: Scores,
}

/// Writes the report and prints its table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<Trained, Metrics>) -> Result<()> {
    let recipe = &experiment.recipe;
    let (mut starts, mut numbers) = (BTreeMap::new(), Vec::new());
    for name in experiment.arms() {
        let runs = results.of_arm(name);
        let runs = runs.map(|one| SeedRun { seed: one.seed, metrics: one.evaluated.clone() });
        let all = summarize_seeds(&runs.collect::<Vec<_>>(), "f1")?;
        numbers.extend(all.measured(name, &recipe.data.name));
        let mut metrics = all.languages;
        for (metric, spreads) in &mut metrics {
            spreads.extend(all.average.get(metric).map(|&one| (AVERAGE.to_owned(), one)));
        }
        let mut f1 = all.best.metrics.get("f1").cloned().unwrap_or_default();
        f1.extend(mean(&f1).map(|value| (AVERAGE.to_owned(), value)));
        let start = Start {
            metrics,
            max: Best { seed: all.best.seed, f1 },
            epochs: results.of_arm(name).map(|one| one.trained.epoch).collect(),
            seconds: Spread::of(results.of_arm(name).map(|one| one.seconds)).mean,
        };
        starts.insert(name.as_str(), start);
    }
    // The paper's table has F1 alone.
    numbers.retain(|number| number.metric == "f1");
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let summary = Summary { seeds: experiment.seeds(), starts, seconds: results.seconds() };
    Ok(experiment.finish(&summary, &table(recipe, &summary), "")?)
}

/// A row for each start, one more with its best seed where there are several; English first.
fn table(recipe: &Recipe, summary: &Summary<'_>) -> String {
    let mut columns: Vec<String> = recipe.data.test.keys().map(ToString::to_string).collect();
    columns.sort_by_key(|code| code != "en");
    columns.push(AVERAGE.into());
    let several = summary.seeds.len() > 1;
    let seeds = if several { format!(", {} seeds", summary.seeds.len()) } else { String::new() };
    let mut table = Table::new(format!("{} F1{seeds}", recipe.data.name), &columns);
    for (name, start) in &summary.starts {
        let label = if several { format!("{name} (avg)") } else { (*name).to_owned() };
        let f1 = |code| start.metrics.get("f1").and_then(|f1: &BTreeMap<_, Spread>| f1.get(code));
        let means = columns.iter().map(|code| f1(code).map(|f1| (f1.mean, f1.sd)));
        table.row(label, means.map(cell));
        if several {
            let best = columns.iter().map(|code| start.max.f1.get(code).copied());
            table.row(format!("{name} (max)"), best.map(cell));
        }
    }
    table.to_string()
}
