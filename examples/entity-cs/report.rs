//! Label retrieval of every arm, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use kg_triples::Language;
use results::{MeanInterval, Measured, Table, cell, over_seeds};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tasks::label_retrieval::PrecisionAt1;

use crate::recipe::Recipe;

/// Label retrieval and loss of a model, by language.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    /// P@1 of the switched entities; the candidates are the English labels of both groups of
    /// entities.
    pub switched: BTreeMap<Language, PrecisionAt1>,
    /// P@1 of the entities that were not switched; the candidates are the English labels of both
    /// groups of entities.
    pub held_out: BTreeMap<Language, PrecisionAt1>,
    /// Mean loss of masked tokens in sentences without switched entities, in nats.
    pub loss: BTreeMap<String, f64>,
}

/// Values of a model in a table, by column.
type ColumnValuesFn = fn(&Scores) -> BTreeMap<String, f64>;

fn p_at_1(scores: &BTreeMap<Language, PrecisionAt1>) -> BTreeMap<String, f64> {
    scores.iter().map(|(code, p)| (format!("{code} ({})", p.labels), p.percent)).collect()
}

/// A table: its setting and metric in `numbers.jsonl`, its title, its values, and their number of
/// decimal places.
type TableSpec = ([&'static str; 2], &'static str, ColumnValuesFn, usize);

const TABLES: [TableSpec; 3] = [
    (["switched", "p@1"], "label retrieval P@1, switched", |scores| p_at_1(&scores.switched), 1),
    (["held out", "p@1"], "label retrieval P@1, held out", |scores| p_at_1(&scores.held_out), 1),
    (["sentences", "loss"], "masked-LM loss, sentences", |scores| scores.loss.clone(), 3),
];

/// Writes `table.md` and `summary.json`, and prints the first table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<u64, Scores>) -> Result<()> {
    let (mut text, mut numbers) = (String::new(), Vec::new());
    // Scores by table, arm and column.
    let mut scores: BTreeMap<&str, BTreeMap<&str, BTreeMap<String, MeanInterval>>> =
        BTreeMap::new();
    for ([setting, metric], name, values, digits) in TABLES {
        let first = values(&results.first().context("no seed was run")?.evaluated);
        if first.is_empty() {
            continue;
        }
        let columns: Vec<String> = first.into_keys().chain(["average".to_owned()]).collect();
        let mut table = Table::new(name, &columns);
        for arm in experiment.arms() {
            let with_average = |mut row: BTreeMap<String, f64>| {
                row.insert("average".to_owned(), MeanInterval::of(row.values().copied()).mean);
                row
            };
            let seeds = results.of_arm(arm).map(|trial| with_average(values(&trial.evaluated)));
            let seeds: Vec<BTreeMap<String, f64>> = seeds.collect();
            let arm_scores = over_seeds(&seeds);
            let title = experiment.recipe.arms[arm].title.as_deref().unwrap_or(arm);
            let cell_text =
                |column| arm_scores.get(column).map(|score| format!("{score:.digits$}"));
            table.add_row(title, columns.iter().map(cell_text).map(cell));
            let means = seeds.iter().filter_map(|seed| seed.get("average").copied());
            numbers.push(Measured::of_seeds(title, setting, "avg", metric, means));
            scores.entry(name).or_default().insert(arm, arm_scores);
        }
        text += &format!("{table}\n");
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    // Training tokens of each arm, excluding padding.
    let tokens = |arm| results.over_seeds(arm, |trial| trial.trained as f64).mean;
    let tokens = experiment.arms().iter().map(|arm| (arm.as_str(), tokens(arm)));
    let tokens: BTreeMap<&str, f64> = tokens.collect();
    let summary = json!({
        "seeds": experiment.seeds(),
        "scores": scores,
        "tokens": tokens,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &text, "")?)
}
