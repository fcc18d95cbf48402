//! Tables 2 and 5 to 7 of the paper from the scores of the arms.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use examples::numbers::{Labels, measure_items};
use experiment::{Experiment, Results, TrialResult};
use mlqa_eval::{Matrix, SetScores, SetSummary, set_tables};
use results::{AVERAGE, MeanInterval, Measured, Table, cell};
use serde::{Deserialize, Serialize};
use tasks::two_stage::CandidateReport;

use crate::recipe::Recipe;

/// Measurements of a model during training.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct Trained {
    /// Counts of the candidates used in training.
    pub candidates: Option<CandidateReport>,
    /// The weight of each position in a question's list of candidates, if learned.
    pub weights: Option<Vec<f64>>,
}

/// The folder of the first stage's reader.
pub const STAGE_ONE: &str = "stage-one";
/// The name of the first stage's reader in the summary.
pub const READER: &str = "before";
/// The arm with which the other arms are compared.
const CONTROL: &str = "plain";

#[derive(Serialize)]
struct ArmSummary {
    title: String,
    sets: BTreeMap<String, SetSummary>,
    candidates: Option<CandidateReport>,
    weights: Option<Vec<f64>>,
    tokens: u64,
    seconds: f64,
}

type Trials = Results<Trained, SetScores>;

/// Writes `summary.json`, `table.md` and the matrices.
pub fn write(experiment: &Experiment<Recipe>, readers: &Trials, results: &Trials) -> Result<()> {
    let mut arms = vec![(READER, summary(experiment, READER, readers.iter(), &[])?)];
    let control: Vec<&SetScores> = results.of_arm(CONTROL).map(|model| &model.evaluated).collect();
    for name in experiment.arms() {
        let control = if name == CONTROL { &[] } else { control.as_slice() };
        arms.push((name, summary(experiment, name, results.of_arm(name), control)?));
    }
    let mut measured = Vec::new();
    for (name, arm) in &arms {
        let models = if *name == READER { readers } else { results };
        let models_of_arm = models.iter().filter(|model| *name == READER || model.arm == *name);
        measured.extend(measure(experiment, name, &arm.title, &models_of_arm.collect::<Vec<_>>())?);
    }
    Measured::write(experiment.dir("numbers.jsonl"), &measured)?;
    Ok(experiment.finish_arms(&arms, &table(&arms), "")?)
}

/// Returns the means over the files of each set, with the scores of the test items.
fn measure(
    experiment: &Experiment<Recipe>,
    name: &str,
    title: &str,
    models: &[&TrialResult<Trained, SetScores>],
) -> Result<Vec<Measured>> {
    // Only the process with rank 0 has the answers.
    if !experiment.is_rank_0() {
        return Ok(Vec::new());
    }
    let folder = if name == READER { STAGE_ONE } else { name };
    let mut numbers = Vec::new();
    for set in models.first().into_iter().flat_map(|model| model.evaluated.keys()) {
        let (mut scores, mut folders) = (Vec::new(), Vec::new());
        for model in models {
            let files = model.evaluated.get(set).into_iter().flatten();
            let mean = Matrix::of_files(title, files).gxlt().context("no file was scored")?;
            scores.push([mean.f1, mean.em]);
            let trial = experiment.dir(format!("seed-{}", model.seed)).join(folder);
            folders.push(trial.join("predictions").join(set));
        }
        let unit = experiment.recipe.bootstrap_unit;
        let labels = Labels { title, setting: set, language: "avg" };
        numbers.extend(measure_items(labels, &scores, &folders, unit, |_, _| true)?);
    }
    Ok(numbers)
}

fn summary<'a>(
    experiment: &Experiment<Recipe>,
    name: &str,
    models: impl Iterator<Item = &'a TrialResult<Trained, SetScores>>,
    control: &[&SetScores],
) -> Result<ArmSummary> {
    let models: Vec<_> = models.collect();
    let default_title = if name == READER { "stage one" } else { name };
    let arm = experiment.recipe.arms.get(name);
    let title = arm.and_then(|arm| arm.title.clone()).unwrap_or_else(|| default_title.to_owned());
    let seeds: Vec<&SetScores> = models.iter().map(|model| &model.evaluated).collect();
    for (set, matrix) in Matrix::by_set(&title, &seeds) {
        matrix.write(experiment.dir("matrix").join(name).join(set))?;
    }
    let first = models.first().context("no seed was run")?;
    Ok(ArmSummary {
        title,
        sets: SetSummary::by_set(&seeds, control),
        candidates: first.trained.candidates.clone(),
        weights: first.trained.weights.clone(),
        tokens: models.iter().map(|model| model.tokens).sum::<u64>() / models.len() as u64,
        seconds: MeanInterval::of(models.iter().map(|model| model.seconds)).mean,
    })
}

fn table(arms: &[(&str, ArmSummary)]) -> String {
    let sets: Vec<&String> = arms.iter().take(1).flat_map(|(_, arm)| arm.sets.keys()).collect();
    let mut means = Table::new("F1 / EM, mean over languages", sets.iter().copied());
    for (_, ArmSummary { title, sets: arm_means, .. }) in arms {
        // XQuAD is scored by SQuAD's rules, and all other sets by MLQA's rules.
        let mean = |set: &SetSummary| set.squad.get(AVERAGE).or(set.scores.get(AVERAGE)).copied();
        means.add_row(title, sets.iter().map(|set| cell(arm_means.get(*set).and_then(mean))));
    }
    let mut text = means.to_string();
    for set in sets {
        let runs =
            arms.iter().filter_map(|(_, arm)| Some((arm.title.as_str(), arm.sets.get(set)?)));
        text.push_str(&set_tables(set, &runs.collect::<Vec<_>>()));
    }
    for (_, ArmSummary { title, candidates, weights, .. }) in arms {
        if let Some(candidates) = candidates {
            text.push_str(&format!("\n{title} (first seed): {candidates}.\n"));
        }
        if let Some(weights) = weights {
            let weights: String = weights.iter().map(|weight| format!(" {weight:.3}")).collect();
            text.push_str(&format!("Learned weights by slot:{weights}.\n"));
        }
    }
    text
}
