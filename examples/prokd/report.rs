//! F1 of every arm by language, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use mlqa_eval::Language;
use results::{MeanInterval, Measured, Table, cell, over_seeds};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::recipe::Recipe;

/// Scores of a tagger.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Scores {
    /// Entity-level F1 in percent.
    pub f1: BTreeMap<Language, f64>,
}

/// Name of the column with the mean of the target languages.
const AVERAGE: &str = "target languages";

/// Writes `table.md`, `numbers.jsonl` and `summary.json`, and prints the table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<(), Scores>) -> Result<()> {
    let first = results.first().context("no seed was run")?;
    let languages = first.evaluated.f1.keys().map(Language::to_string);
    let columns: Vec<String> = languages.chain([AVERAGE.to_owned()]).collect();
    let targets = &experiment.recipe.data.target;
    let row = |scores: &Scores| -> BTreeMap<String, f64> {
        let of_targets = scores.f1.iter().filter(|(language, _)| targets.contains_key(language));
        let mean = MeanInterval::of(of_targets.map(|(_, &f1)| f1)).mean;
        let by_language = scores.f1.iter().map(|(language, &f1)| (language.to_string(), f1));
        by_language.chain([(AVERAGE.to_owned(), mean)]).collect()
    };
    let mut table = Table::new("named entities, F1", &columns);
    let (mut numbers, mut by_arm) = (Vec::new(), BTreeMap::new());
    for arm in experiment.arms() {
        let title = experiment.recipe.arms[arm].title.as_deref().unwrap_or(arm);
        let seeds: Vec<BTreeMap<String, f64>> =
            results.of_arm(arm).map(|trial| row(&trial.evaluated)).collect();
        let scores = over_seeds(&seeds);
        let cell_text = |column| scores.get(column).map(|score| format!("{score:.1}"));
        table.add_row(title, columns.iter().map(cell_text).map(cell));
        for column in &columns {
            let language = if column == AVERAGE { "avg" } else { column };
            let values = seeds.iter().filter_map(|seed| seed.get(column).copied());
            numbers.push(Measured::of_seeds(title, "test", language, "f1", values));
        }
        by_arm.insert(arm, scores);
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let summary = json!({
        "seeds": experiment.seeds(),
        "f1": by_arm,
        "seconds": results.seconds(),
    });
    Ok(experiment.finish(&summary, &format!("{table}\n"), "")?)
}
