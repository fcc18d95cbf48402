//! What a run leaves behind: `summary.json`, `table.md`, and the numbers for the paper's table.
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use examples::results::{write_json, write_text};
use serde::{Deserialize, Serialize};
use transfer_eval::{Measured, Scores, SeedRun, Spread, mean, summarize_seeds};

use crate::recipe::Recipe;

/// What one fine-tuned model showed; numbers in percent.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct TaggerResult {
    /// The epoch that was chosen, from 1.
    pub epoch: usize,
    /// F1 on the development sets after each epoch.
    pub dev: Vec<Scores>,
    /// F1 on the test sets; so the next two.
    pub f1: Scores,
    pub precision: Scores,
    pub recall: Scores,
    /// Seconds of training and evaluation, earlier parts of a resumed run included.
    pub seconds: f64,
}

/// A fine-tuned model's seed, start and result.
pub type Finished = (u64, String, TaggerResult);

/// `summary.json`.
#[derive(Clone, Debug, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    /// By the name of the start.
    starts: BTreeMap<String, StartSummary>,
    /// Seconds of all starts and seeds.
    seconds: f64,
}

/// One start over all seeds.
#[derive(Clone, Debug, Serialize)]
struct StartSummary {
    /// By language, and `average`, the mean over languages; so the next two.
    f1: BTreeMap<String, Spread>,
    precision: BTreeMap<String, Spread>,
    recall: BTreeMap<String, Spread>,
    /// The single seed with the best average.
    max: Best,
    /// The epochs chosen, in the order of the seeds.
    epochs: Vec<usize>,
    /// The mean over seeds.
    seconds: f64,
}

#[derive(Clone, Debug, Serialize)]
struct Best {
    seed: u64,
    /// By language, and `average`.
    f1: Scores,
}

/// Writes the report and returns its table.
pub fn report(recipe: &Recipe, folder: &Path, results: &[Finished]) -> Result<String> {
    let mut starts = BTreeMap::new();
    let mut numbers: Vec<Measured> = Vec::new();
    for name in recipe.models.keys() {
        let own: Vec<&Finished> = results.iter().filter(|(_, of, _)| of == name).collect();
        let (summary, measured) = start(recipe, name, &own)?;
        starts.insert(name.clone(), summary);
        numbers.extend(measured);
    }
    let seconds = results.iter().map(|(_, _, result)| result.seconds).sum();
    let summary = Summary { seeds: recipe.seeds.clone(), starts, seconds };
    let text = table(recipe, &summary);
    write_text(&folder.join("table.md"), &text)?;
    Measured::write(folder.join("numbers.jsonl"), &numbers)?;
    write_json(&folder.join("summary.json"), &summary)?;
    Ok(text)
}

fn start(recipe: &Recipe, name: &str, own: &[&Finished]) -> Result<(StartSummary, Vec<Measured>)> {
    let runs = |metrics: fn(&TaggerResult) -> Vec<(&str, &Scores)>| -> Vec<SeedRun> {
        let run = |(seed, _, result): &&Finished| SeedRun {
            seed: *seed,
            metrics: metrics(result)
                .into_iter()
                .map(|(metric, scores)| (metric.to_owned(), scores.clone()))
                .collect(),
        };
        own.iter().map(run).collect()
    };
    let all = summarize_seeds(
        &runs(|one| vec![("f1", &one.f1), ("precision", &one.precision), ("recall", &one.recall)]),
        "f1",
    )?;
    let spreads = |metric: &str| -> Result<BTreeMap<String, Spread>> {
        let mut spreads = all.languages.get(metric).cloned().context("metric")?;
        spreads.extend(all.average.get(metric).map(|&one| ("average".to_owned(), one)));
        Ok(spreads)
    };
    let mut best = all.best.metrics.get("f1").cloned().context("f1")?;
    best.extend(mean(&best).map(|value| ("average".to_owned(), value)));
    let seconds = own.iter().map(|(_, _, result)| result.seconds).sum::<f64>();
    let summary = StartSummary {
        f1: spreads("f1")?,
        precision: spreads("precision")?,
        recall: spreads("recall")?,
        max: Best { seed: all.best.seed, f1: best },
        epochs: own.iter().map(|(_, _, result)| result.epoch).collect(),
        seconds: seconds / own.len().max(1) as f64,
    };
    // The paper's table has F1 alone.
    let measured = summarize_seeds(&runs(|one| vec![("f1", &one.f1)]), "f1")?;
    Ok((summary, measured.measured(name, &recipe.data.name)))
}

/// A row for each start, one more with its best seed where there are several; English first.
fn table(recipe: &Recipe, summary: &Summary) -> String {
    let (english, others): (Vec<&str>, Vec<&str>) =
        recipe.data.test.keys().map(String::as_str).partition(|code| *code == "en");
    let columns: Vec<&str> = english.into_iter().chain(others).chain(["average"]).collect();
    let several = summary.seeds.len() > 1;
    let seeds = if several { format!(", {} seeds", summary.seeds.len()) } else { String::new() };
    let mut text = format!("| {} F1{seeds} | {} |\n", recipe.data.name, columns.join(" | "));
    text.push_str(&format!("|---|{}\n", "---:|".repeat(columns.len())));
    let mut row = |name: &str, cells: Vec<String>| {
        text.push_str(&format!("| {name} | {} |\n", cells.join(" | ")));
    };
    for (name, start) in &summary.starts {
        let cell = |code: &&str| start.f1.get(*code).map_or("–".into(), |f1| f1.text(1));
        let label = if several { format!("{name} (avg)") } else { name.clone() };
        row(&label, columns.iter().map(cell).collect());
        if several {
            let cell = |code: &&str| {
                start.max.f1.get(*code).map_or("–".into(), |value| format!("{value:.1}"))
            };
            row(&format!("{name} (max)"), columns.iter().map(cell).collect());
        }
    }
    text
}
