//! What models gave by what they read beside each text, in every language, and against the control
//! of the same seed.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{MISSING, MeanSd, Table};
use experiment::{Experiment, Recipe, Results};
use mlqa_eval::Language;
use serde::Serialize;

/// Values by what was read, measure and language.
pub type Scores = BTreeMap<String, BTreeMap<String, BTreeMap<Language, f64>>>;

/// What the tables of a recipe show.
pub struct Readings<'a> {
    /// The measure in the table, and what it is called there.
    pub measure: (&'a str, &'a str),
    /// The columns.
    pub languages: &'a [Language],
    /// The arm, and its reading, that others are compared with.
    pub control: (&'a str, &'a str),
    /// What arms are called, where not by their names.
    pub titles: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct ArmSummary<'a, T> {
    title: &'a str,
    trained: Option<&'a T>,
    readings: BTreeMap<String, Reading>,
    seconds: f64,
}

#[derive(Serialize)]
struct Reading {
    /// By measure and language.
    scores: BTreeMap<String, BTreeMap<String, MeanSd>>,
    /// The mean of the measure less that of the control with the same seed.
    against_control: Option<MeanSd>,
}

impl Readings<'_> {
    /// Writes `summary.json` and `table.md`, and prints the table; `remark` says what there is to
    /// say of an arm's training.
    pub fn write<R: Recipe, T: Serialize>(
        &self,
        experiment: &Experiment<R>,
        results: &Results<T, Scores>,
        remark: impl Fn(&T) -> Option<String>,
    ) -> Result<()> {
        let (measure, corner) = self.measure;
        let columns = self.languages.iter().map(ToString::to_string);
        let mut table = Table::new(corner, columns.chain(["average".into(), "− control".into()]));
        let (mut arms, mut remarks) = (Vec::new(), String::new());
        let seeds = || experiment.seeds().iter().copied();
        let mean = |seed: u64, (arm, reading): (&str, &str)| {
            let cell = results.of_cell(seed, arm).next()?;
            let scores = cell.evaluated.get(reading)?.get(measure)?;
            Some(scores.values().sum::<f64>() / scores.len().max(1) as f64)
        };
        for arm in experiment.arms() {
            let first = results.of_arm(arm).next();
            let title = self.titles.get(arm.as_str()).copied().unwrap_or(arm);
            let said = first.and_then(|cell| remark(&cell.trained));
            remarks.extend(said.map(|said| format!("\n{title}: {said}.\n")));
            let mut readings = BTreeMap::new();
            for reading in first.iter().flat_map(|cell| cell.evaluated.keys()) {
                let own = |seed| mean(seed, (arm, reading));
                let less = |seed| Some(own(seed)? - mean(seed, self.control)?);
                let against: Vec<f64> = seeds().filter_map(less).collect();
                let compared = !against.is_empty() && (arm.as_str(), &**reading) != self.control;
                let against_control = compared.then(|| MeanSd::of(against));
                let scores =
                    over_seeds(results.of_arm(arm).map(|cell| cell.evaluated.get(reading)));
                let of_measure = scores.get(measure);
                let value = |language: &Language| of_measure?.get(language.as_str());
                let numbers =
                    self.languages.iter().map(|one| experiment::table::cell(value(one).copied()));
                let average = MeanSd::of(seeds().filter_map(own)).to_string();
                let difference = against_control.map(|value| format!("{value:+}"));
                let difference = difference.unwrap_or_else(|| MISSING.to_owned());
                table.row(format!("{title}, {reading}"), numbers.chain([average, difference]));
                readings.insert(reading.clone(), Reading { scores, against_control });
            }
            let seconds = results.over_seeds(arm, |cell| cell.seconds).mean;
            let trained = first.map(|cell| &cell.trained);
            arms.push((arm.as_str(), ArmSummary { title, trained, readings, seconds }));
        }
        Ok(experiment.finish_arms(&arms, &format!("{table}{remarks}"), "")?)
    }
}

type OfReading = BTreeMap<String, BTreeMap<Language, f64>>;

/// By measure and language.
fn over_seeds<'a>(
    seeds: impl Iterator<Item = Option<&'a OfReading>>,
) -> BTreeMap<String, BTreeMap<String, MeanSd>> {
    let mut values: BTreeMap<String, BTreeMap<String, Vec<f64>>> = BTreeMap::new();
    for (measure, scores) in seeds.flatten().flatten() {
        for (language, &score) in scores {
            let of_measure = values.entry(measure.clone()).or_default();
            of_measure.entry(language.to_string()).or_default().push(score);
        }
    }
    let mean = |(language, values)| (language, MeanSd::of(values));
    let means = |of: BTreeMap<String, Vec<f64>>| of.into_iter().map(mean).collect();
    values.into_iter().map(|(measure, of)| (measure, means(of))).collect()
}
