//! F1 in every language, and against the control of the same seed.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{MISSING, MeanSd, Table};
use experiment::{Experiment, Results};
use mlqa_eval::Language;
use serde::Serialize;
use tasks::fusion::PairCounts;

use crate::recipe::Recipe;

/// F1 and exact match by what was read, and language.
pub type Scores = BTreeMap<String, BTreeMap<Language, (f64, f64)>>;

/// The arm, and its reading, that others are compared with.
const CONTROL: (&str, &str) = ("translate-train", "alone");

#[derive(Serialize)]
struct ArmSummary {
    title: String,
    pairs: Option<PairCounts>,
    readings: BTreeMap<String, Reading>,
    seconds: f64,
}

#[derive(Serialize)]
struct Reading {
    f1: BTreeMap<String, MeanSd>,
    exact_match: BTreeMap<String, MeanSd>,
    /// Mean F1 less that of the control with the same seed.
    against_control: Option<MeanSd>,
}

/// Writes `summary.json` and `table.md`, and prints the table.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<PairCounts, Scores>) -> Result<()> {
    let languages = &experiment.recipe.languages;
    let mean = |seed: u64, (arm, reading): (&str, &str)| {
        let cell = results.of_cell(seed, arm).next()?;
        let scores = cell.evaluated.get(reading)?;
        Some(scores.values().map(|(f1, _)| f1).sum::<f64>() / scores.len().max(1) as f64)
    };
    let columns = languages.iter().map(ToString::to_string);
    let mut table = Table::new("F1", columns.chain(["average".into(), "− control".into()]));
    let (mut arms, mut counts) = (Vec::new(), String::new());
    for arm in experiment.arms() {
        let cells: Vec<_> = results.of_arm(arm).collect();
        let known = experiment.recipe.arms.get(arm).and_then(|arm| arm.title.clone());
        let title = known.unwrap_or_else(|| arm.clone());
        let pairs = cells.first().map(|cell| cell.trained);
        counts.extend(pairs.map(|pairs| format!("\n{title}: {pairs}.\n")));
        let mut readings = BTreeMap::new();
        let names = cells.first().map(|cell| cell.evaluated.keys());
        for reading in names.into_iter().flatten() {
            let of = |value: fn(&(f64, f64)) -> f64| -> BTreeMap<String, MeanSd> {
                let one = |language: &Language| {
                    let scores = cells.iter().filter_map(|cell| cell.evaluated.get(reading));
                    let scores = scores.filter_map(|scores| scores.get(language));
                    (language.to_string(), MeanSd::of(scores.map(value)))
                };
                languages.iter().map(one).collect()
            };
            let seeds = experiment.seeds().iter().copied();
            let own = |seed| mean(seed, (arm, reading));
            let against = seeds.clone().filter_map(|seed| Some(own(seed)? - mean(seed, CONTROL)?));
            let against: Vec<f64> = against.collect();
            let compared = !against.is_empty() && (arm.as_str(), reading.as_str()) != CONTROL;
            let against = compared.then(|| MeanSd::of(against));
            let (f1, average) = (of(|score| score.0), MeanSd::of(seeds.filter_map(own)));
            let numbers = languages.iter().filter_map(|language| f1.get(language.as_str()));
            let numbers = numbers.map(ToString::to_string).chain([average.to_string()]);
            let difference = against.map_or(MISSING.to_owned(), |value| format!("{value:+}"));
            table.row(format!("{title}, {reading}"), numbers.chain([difference]));
            let exact_match = of(|score| score.1);
            readings.insert(reading.clone(), Reading { f1, exact_match, against_control: against });
        }
        let seconds = results.over_seeds(arm, |cell| cell.seconds).mean;
        arms.push((arm.as_str(), ArmSummary { title, pairs, readings, seconds }));
    }
    Ok(experiment.finish_arms(&arms, &format!("{table}{counts}"), "")?)
}
