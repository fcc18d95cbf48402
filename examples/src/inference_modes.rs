//! Table and summary of models by language and inference mode. An inference mode selects the second
//! text of each input. Each score is compared with the control's score of the same seed.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::{Experiment, Recipe, Results};
use mlqa_eval::Language;
use results::{MeanInterval, Measured, Table, cell, over_seeds};
use serde::Serialize;

/// Values by inference mode, measure and language.
pub type Scores = BTreeMap<String, BTreeMap<String, BTreeMap<Language, f64>>>;

/// Contents and titles of a recipe's table.
pub struct InferenceModes<'a> {
    /// The measure in the table, and its title.
    pub measure: (&'a str, &'a str),
    /// Languages of the columns.
    pub languages: &'a [Language],
    /// The arm and inference mode that other arms and modes are compared with.
    pub control: (&'a str, &'a str),
    /// Titles of arms; the default is the arm's name.
    pub titles: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct ArmSummary<'a, T> {
    title: &'a str,
    trained: Option<&'a T>,
    #[serde(rename = "readings")]
    modes: BTreeMap<String, ModeSummary>,
    seconds: f64,
}

#[derive(Serialize)]
struct ModeSummary {
    /// Scores by measure and language.
    scores: BTreeMap<String, BTreeMap<Language, MeanInterval>>,
    /// The measure's mean over languages minus the control's mean, both of the same seed.
    against_control: Option<MeanInterval>,
}

impl InferenceModes<'_> {
    /// Writes `summary.json` and `table.md`, and prints the table; `remark` describes an arm's
    /// training.
    pub fn write<R: Recipe, T: Serialize>(
        &self,
        experiment: &Experiment<R>,
        results: &Results<T, Scores>,
        remark: impl Fn(&T) -> Option<String>,
    ) -> Result<()> {
        let (measure, header) = self.measure;
        let columns = self.languages.iter().map(ToString::to_string);
        let mut table = Table::new(header, columns.chain(["average".into(), "− control".into()]));
        let (mut arms, mut numbers) = (Vec::new(), Vec::new());
        let mut remarks = String::new();
        let seeds = || experiment.seeds().iter().copied();
        let mean = |seed: u64, (arm, mode): (&str, &str)| {
            let trial = results.of_trial(seed, arm).next()?;
            let scores = trial.evaluated.get(mode)?.get(measure)?;
            Some(MeanInterval::of(scores.values().copied()).mean)
        };
        for arm in experiment.arms() {
            let first_trial = results.of_arm(arm).next();
            let title = self.titles.get(arm.as_str()).copied().unwrap_or(arm);
            let remark = first_trial.and_then(|trial| remark(&trial.trained));
            remarks.extend(remark.map(|remark| format!("\n{title}: {remark}.\n")));
            let mut modes = BTreeMap::new();
            for (mode, scores) in over_seeds(results.of_arm(arm).map(|trial| &trial.evaluated)) {
                let seed_mean = |seed| mean(seed, (arm, &mode));
                let difference_of_seed = |seed| Some(seed_mean(seed)? - mean(seed, self.control)?);
                let differences: Vec<f64> = seeds().filter_map(difference_of_seed).collect();
                let is_compared = !differences.is_empty() && (arm.as_str(), &*mode) != self.control;
                let against_control = is_compared.then(|| MeanInterval::of(differences));
                let measure_scores = scores.get(measure);
                let score = |language| cell(measure_scores.and_then(|scores| scores.get(language)));
                let seed_values = seeds().filter_map(seed_mean);
                let measured = Measured::of_seeds(title, &mode, "avg", measure, seed_values);
                let average = measured.mean_interval().to_string();
                numbers.push(measured);
                let difference = cell(against_control.map(|value| format!("{value:+}")));
                let cells = self.languages.iter().map(score).chain([average, difference]);
                table.add_row(format!("{title}, {mode}"), cells);
                modes.insert(mode, ModeSummary { scores, against_control });
            }
            let seconds = results.over_seeds(arm, |trial| trial.seconds).mean;
            let trained = first_trial.map(|trial| &trial.trained);
            arms.push((arm.as_str(), ArmSummary { title, trained, modes, seconds }));
        }
        Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
        Ok(experiment.finish_arms(&arms, &format!("{table}{remarks}"), "")?)
    }
}
