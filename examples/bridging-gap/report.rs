//! Table I of the paper, label retrieval, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use experiment::table::{Table, cell, means};
use experiment::{CellResult, Experiment, Results};
use mlqa_eval::{Matrix, ScoreSpread, table_one};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{FileScore, matrix};

use crate::recipe::Recipe;

/// What training shows of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Label retrieval after injection by language, P@1 in percent.
    pub retrieval: BTreeMap<String, f64>,
    /// Tokens of knowledge injection, padding left out.
    pub injected_tokens: u64,
}

/// `summary.json`; numbers are means over seeds.
#[derive(Default, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    arms: BTreeMap<String, ArmSummary>,
    /// Label retrieval by arm and language, P@1 in percent.
    retrieval: BTreeMap<String, BTreeMap<String, f64>>,
    /// Seconds of all arms and seeds.
    seconds: f64,
}

#[derive(Serialize)]
struct ArmSummary {
    /// By question language; contexts are English. `average` is the mean of all but `en`.
    #[serde(flatten)]
    scores: BTreeMap<String, ScoreSpread>,
    /// Tokens of knowledge injection.
    tokens: u64,
    /// Seconds of training and evaluation.
    seconds: f64,
}

/// Writes the matrices, `table.md` and `summary.json`, and prints the tables.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<Trained, Vec<FileScore>>,
) -> Result<()> {
    let mut summary = Summary { seeds: experiment.seeds().to_vec(), ..Summary::default() };
    let mut matrices: Vec<(&str, Matrix)> = Vec::new();
    for arm in experiment.arms() {
        let of_seed = |&seed: &u64| {
            // English questions come from the first language pair that has them.
            let mut all = Matrix::new(arm);
            let models = results.of_cell(seed, arm);
            models.for_each(|model| all.fill(&matrix(arm, &model.evaluated)));
            all
        };
        let seeds: Vec<Matrix> = experiment.seeds().iter().map(of_seed).collect();
        let tokens = |model: &CellResult<Trained, _>| model.trained.injected_tokens as f64;
        let of_arm = ArmSummary {
            scores: Matrix::english_context_scores(&seeds, &experiment.recipe.languages),
            tokens: results.over_seeds(arm, tokens).mean as u64,
            seconds: results.over_seeds(arm, |model| model.seconds).mean,
        };
        summary.arms.insert(arm.clone(), of_arm);
        let retrieval = results.of_arm(arm).map(|model| &model.trained.retrieval);
        summary.retrieval.insert(arm.clone(), means(retrieval));
        let over_seeds = Matrix::over_seeds(arm.as_str(), &seeds);
        over_seeds.write(experiment.dir("matrix").join(arm))?;
        matrices.push((arm, over_seeds));
    }
    summary.seconds = results.seconds();
    let arms: Vec<(&str, &Matrix)> = matrices.iter().map(|(arm, matrix)| (*arm, matrix)).collect();
    let text = format!("{}\n{}", table_one(&arms), retrieval_table(&summary, experiment));
    Ok(experiment.finish(&summary, &text, &conclusion(&summary))?)
}

fn retrieval_table(summary: &Summary, experiment: &Experiment<Recipe>) -> Table {
    let codes = || experiment.recipe.languages.iter().skip(1).map(|language| language.as_str());
    let mut table = Table::new("label retrieval P@1", codes().map(str::to_uppercase));
    for arm in experiment.arms() {
        let found = summary.retrieval.get(arm);
        table.row(arm, codes().map(|code| cell(found.and_then(|p| p.get(code)).copied())));
    }
    table
}

/// One sentence about what the run showed.
fn conclusion(summary: &Summary) -> String {
    let mean = |arm: &str| Some(summary.arms.get(arm)?.scores.get("average")?.f1);
    let (Some(base), Some(injected)) = (mean("base"), mean("injected")) else {
        return String::new();
    };
    let control = mean("control").map_or(String::new(), |control| {
        format!(" ({control:.1} with as many tokens of knowledge in one language at a time)")
    });
    let verb = if injected > base { "rose" } else { "did not rise: it went" };
    format!(
        "After learning each fact across languages, F1 on English text with questions in other \
         languages {verb} from {base:.1} to {injected:.1}{control}.\n"
    )
}
