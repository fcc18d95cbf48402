//! Table I of the paper, label retrieval, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{Table, cell, means};
use experiment::{Experiment, Results};
use mlqa_eval::{Language, Matrix, ScoreSpread, table_one};
use serde::{Deserialize, Serialize};
use tasks::question_answering::FileScore;

use crate::recipe::Recipe;

/// What training shows of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Label retrieval after injection by language, P@1 in percent.
    pub retrieval: BTreeMap<Language, f64>,
    /// The same through a map that is fitted to other labels.
    pub mapped: BTreeMap<Language, f64>,
    /// Tokens of knowledge injection, padding left out.
    pub injected_tokens: u64,
}

/// An arm in `summary.json`; numbers are means over seeds.
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
    let (mut arms, mut retrieval, mut matrices) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let languages = experiment.recipe.languages.get(1..).unwrap_or_default();
    let columns = languages.iter().map(|code| code.as_str().to_uppercase());
    let mut table = Table::new("label retrieval P@1", columns);
    for arm in experiment.arms() {
        let of_seed = |&seed: &u64| {
            Matrix::of_files(arm, results.of_cell(seed, arm).flat_map(|cell| &cell.evaluated))
        };
        let seeds: Vec<Matrix> = experiment.seeds().iter().map(of_seed).collect();
        let of_arm = ArmSummary {
            scores: Matrix::english_context_scores(&seeds, &experiment.recipe.languages),
            tokens: results.over_seeds(arm, |model| model.trained.injected_tokens as f64).mean
                as u64,
            seconds: results.over_seeds(arm, |model| model.seconds).mean,
        };
        arms.insert(arm.clone(), of_arm);
        let plain = means(results.of_arm(arm).map(|model| &model.trained.retrieval));
        let mapped = means(results.of_arm(arm).map(|model| &model.trained.mapped));
        for (row, found) in [(arm.clone(), plain), (format!("{arm}, mapped"), mapped)] {
            table.row(&row, languages.iter().map(|code| cell(found.get(code).copied())));
            retrieval.insert(row, found);
        }
        let over_seeds = Matrix::over_seeds(arm.as_str(), &seeds);
        over_seeds.write(experiment.dir("matrix").join(arm))?;
        matrices.push((arm.as_str(), over_seeds));
    }
    let text = format!("{}\n{table}", table_one(&matrices));
    let said = conclusion(&arms).unwrap_or_default();
    let (seeds, seconds) = (experiment.seeds(), results.seconds());
    let summary = serde_json::json!({"seeds": seeds, "seconds": seconds, "arms": arms, "retrieval": retrieval});
    Ok(experiment.finish(&summary, &text, &said)?)
}

/// One sentence about what the run showed.
fn conclusion(arms: &BTreeMap<String, ArmSummary>) -> Option<String> {
    let mean = |arm: &str| Some(arms.get(arm)?.scores.get("average")?.f1);
    let (base, injected) = (mean("base")?, mean("injected")?);
    let other = "with as many tokens of knowledge in one language at a time";
    let control = mean("control").map(|f1| format!(" ({f1:.1} {other})")).unwrap_or_default();
    let verb = if injected > base { "rose" } else { "did not rise: it went" };
    Some(format!(
        "After learning each fact across languages, F1 on English text with questions in other \
         languages {verb} from {base:.1} to {injected:.1}{control}.\n"
    ))
}
