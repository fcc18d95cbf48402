//! Losses and cosines of every arm: `table.md`, `numbers.jsonl` and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use results::{MeanInterval, Measured, Table, cell, over_seeds};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::recipe::Recipe;

/// Scores of a model on the held-out sentences, by language.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    /// Mean loss of masked tokens, in nats.
    pub loss: BTreeMap<String, f64>,
    /// Mean cosine of a sentence's vectors in the encoder before and after training.
    pub cosine_to_before: BTreeMap<String, f64>,
    /// Mean cosine of the vectors of different sentences.
    pub cosine_between: BTreeMap<String, f64>,
}

/// Values of a model in a table, by column.
type ColumnValuesFn = fn(&Scores) -> &BTreeMap<String, f64>;

/// The metric of each table in `numbers.jsonl`, its title and its values.
const TABLES: [(&str, &str, ColumnValuesFn); 3] = [
    ("loss", "masked-LM loss, nats", |scores| &scores.loss),
    ("cosine", "cosine to the encoder before", |scores| &scores.cosine_to_before),
    ("cosine between", "cosine of different sentences", |scores| &scores.cosine_between),
];

/// Writes the files of the results, and prints the losses.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<(), Scores>) -> Result<()> {
    let (mut text, mut numbers) = (String::new(), Vec::new());
    // Scores by table, arm and column.
    let mut scores: BTreeMap<&str, BTreeMap<&str, BTreeMap<String, MeanInterval>>> =
        BTreeMap::new();
    for (metric, name, values) in TABLES {
        let first = values(&results.first().context("no seed was run")?.evaluated);
        let columns: Vec<String> = first.keys().cloned().chain(["average".to_owned()]).collect();
        let mut table = Table::new(name, &columns);
        for arm in experiment.arms() {
            let with_average = |row: &BTreeMap<String, f64>| {
                let mut row = row.clone();
                row.insert("average".to_owned(), MeanInterval::of(row.values().copied()).mean);
                row
            };
            let seeds: Vec<BTreeMap<String, f64>> =
                results.of_arm(arm).map(|trial| with_average(values(&trial.evaluated))).collect();
            let arm_scores = over_seeds(&seeds);
            let title = experiment.recipe.arms[arm].title.as_deref().unwrap_or(arm);
            let cell_text = |column| arm_scores.get(column).map(|score| format!("{score:.3}"));
            table.add_row(title, columns.iter().map(cell_text).map(cell));
            let means = seeds.iter().map(|seed| seed["average"]);
            numbers.push(Measured::of_seeds(title, "held-out sentences", "avg", metric, means));
            scores.entry(name).or_default().insert(arm, arm_scores);
        }
        text += &format!("{table}\n");
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let summary = json!({
        "seeds": experiment.seeds(),
        "scores": scores,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &text, "")?)
}
