//! Table I of the paper, label retrieval, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{Table, cell, means};
use experiment::{CellResult, Experiment, Results};
use mlqa_eval::{Language, Matrix, ScoreSpread, table_one};
use serde::{Deserialize, Serialize};
use tasks::question_answering::FileScore;

use crate::recipe::Recipe;

/// What training shows of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Label retrieval after injection by language, P@1 in percent.
    pub retrieval: BTreeMap<Language, f64>,
    /// Tokens of knowledge injection, padding left out.
    pub injected_tokens: u64,
}

/// `summary.json`; numbers are means over seeds.
#[derive(Default, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    arms: BTreeMap<String, ArmSummary>,
    /// Label retrieval by arm and language, P@1 in percent.
    retrieval: BTreeMap<String, BTreeMap<Language, f64>>,
    /// Seconds of all arms and seeds.
    seconds: f64,
}

#[derive(Serialize)]
struct ArmSummary {
    /// By question language; contexts are English. `average` is the mean of all but `en`.
    #[serde(flatten)]
    scores: BTreeMap<String, ScoreSpread>,
    tokens: u64,
    /// Of training and evaluation.
    seconds: f64,
}

/// Writes the matrices, `table.md` and `summary.json`, and prints the tables.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<Trained, Vec<FileScore>>,
) -> Result<()> {
    let (seeds, seconds) = (experiment.seeds().to_vec(), results.seconds());
    let mut summary = Summary { seeds, seconds, ..Summary::default() };
    let mut matrices: Vec<(&str, Matrix)> = Vec::new();
    let languages = experiment.recipe.languages.get(1..).unwrap_or_default();
    let columns = languages.iter().map(|code| code.as_str().to_uppercase());
    let mut retrieval = Table::new("label retrieval P@1", columns);
    for arm in experiment.arms() {
        let of_seed = |&seed: &u64| {
            Matrix::of_files(arm, results.of_cell(seed, arm).flat_map(|cell| &cell.evaluated))
        };
        let seeds: Vec<Matrix> = experiment.seeds().iter().map(of_seed).collect();
        let tokens = |model: &CellResult<Trained, _>| model.trained.injected_tokens as f64;
        let of_arm = ArmSummary {
            scores: Matrix::english_context_scores(&seeds, &experiment.recipe.languages),
            tokens: results.over_seeds(arm, tokens).mean as u64,
            seconds: results.over_seeds(arm, |model| model.seconds).mean,
        };
        summary.arms.insert(arm.clone(), of_arm);
        let found = means(results.of_arm(arm).map(|model| &model.trained.retrieval));
        retrieval.row(arm, languages.iter().map(|code| cell(found.get(code).copied())));
        summary.retrieval.insert(arm.clone(), found);
        let over_seeds = Matrix::over_seeds(arm.as_str(), &seeds);
        over_seeds.write(experiment.dir("matrix").join(arm))?;
        matrices.push((arm, over_seeds));
    }
    let text = format!("{}\n{retrieval}", table_one(&matrices));
    Ok(experiment.finish(&summary, &text, &conclusion(&summary).unwrap_or_default())?)
}

/// One sentence about what the run showed.
fn conclusion(summary: &Summary) -> Option<String> {
    let mean = |arm: &str| Some(summary.arms.get(arm)?.scores.get("average")?.f1);
    let (base, injected) = (mean("base")?, mean("injected")?);
    let other = "with as many tokens of knowledge in one language at a time";
    let tell = |f1| format!(" ({f1:.1} {other})");
    let control = mean("control").map(tell).unwrap_or_default();
    let verb = if injected > base { "rose" } else { "did not rise: it went" };
    Some(format!(
        "After learning each fact across languages, F1 on English text with questions in other \
         languages {verb} from {base:.1} to {injected:.1}{control}.\n"
    ))
}
