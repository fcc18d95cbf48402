//! Tables 7 to 9 of the paper from the scores of the arms.
use anyhow::{Context, Result};
use experiment::{Experiment, Results};
use mlqa_eval::{FileScore, Matrix, MatrixSummary, Spread};
use serde::Serialize;

use crate::recipe::Recipe;

/// One arm of `summary.json`; scores are means over seeds.
#[derive(Serialize)]
struct ArmSummary {
    title: String,
    #[serde(flatten)]
    scores: MatrixSummary,
    tokens: u64,
    steps: u64,
    seconds: f64,
}

/// Writes `summary.json`, `table.md` and a matrix for each arm.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<u64, Vec<FileScore>>,
) -> Result<()> {
    let Recipe { arms: all, languages, .. } = &experiment.recipe;
    let mut arms = Vec::new();
    for name in experiment.arms() {
        let models: Vec<_> = results.of_arm(name).collect();
        let title = all.get(name).and_then(|arm| arm.title.as_ref()).unwrap_or(name);
        let seeds = models.iter().map(|model| Matrix::of_files(title, &model.evaluated));
        let seeds: Vec<Matrix> = seeds.collect();
        Matrix::over_seeds(title, &seeds).write(experiment.dir("matrix").join(name))?;
        let arm = ArmSummary {
            title: title.clone(),
            scores: MatrixSummary::over_seeds(&seeds, languages).context("no pair was scored")?,
            tokens: Spread::of(models.iter().map(|model| model.tokens as f64)).mean.round() as u64,
            steps: models.first().context("no seed was run")?.trained,
            seconds: Spread::of(models.iter().map(|model| model.seconds)).mean,
        };
        arms.push((name.as_str(), arm));
    }
    let runs: Vec<_> = arms.iter().map(|(_, arm)| (arm.title.as_str(), &arm.scores)).collect();
    let table = MatrixSummary::table(languages, &runs);
    Ok(experiment.finish_arms(&arms, &table, "")?)
}
