//! Table I of the paper, label retrieval, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::Result;
use examples::numbers::{Labels, measure_answers};
use experiment::{Experiment, Results};
use mlqa_eval::{Language, Matrix, table_one};
use results::{MeanInterval, Measured, ScoreMeans, Table, cell};
use serde::{Deserialize, Serialize};
use tasks::question_answering::FileScore;

use crate::recipe::Recipe;

/// Measurements of a model during training.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Label retrieval after injection by language, P@1 in percent.
    pub retrieval: BTreeMap<Language, f64>,
    /// Label retrieval after mapping the token embeddings; the map is fitted to the labels of
    /// entities other than the evaluated ones.
    pub mapped: BTreeMap<Language, f64>,
    /// Tokens of sequences and running text before fine-tuning, excluding padding.
    pub injected_tokens: u64,
}

/// An arm in `summary.json`; values are means over seeds.
#[derive(Serialize)]
struct ArmSummary {
    /// Scores by question language; contexts are English. `average` is the mean of all languages
    /// except `en`.
    #[serde(flatten)]
    scores: BTreeMap<String, ScoreMeans>,
    tokens: u64,
    /// Time of training and evaluation in seconds.
    seconds: f64,
}

/// Writes the matrices, `table.md` and `summary.json`, and prints the tables.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<Trained, Vec<FileScore>>,
) -> Result<()> {
    let mut arms = BTreeMap::new();
    let mut retrieval = BTreeMap::new();
    let (mut matrices, mut numbers) = (Vec::new(), Vec::new());
    let languages = &experiment.recipe.languages[1..];
    let columns = languages.iter().map(|code| code.as_str().to_uppercase());
    let mut table = Table::new("label retrieval P@1", columns);
    for arm in experiment.arms() {
        let matrix_of_seed = |&seed: &u64| {
            Matrix::of_files(arm, results.of_trial(seed, arm).flat_map(|trial| &trial.evaluated))
        };
        let seeds: Vec<Matrix> = experiment.seeds().iter().map(matrix_of_seed).collect();
        let scores_of = |select: &dyn Fn(Language) -> bool| {
            Matrix::mean_over_seeds(&seeds, |context, question| {
                context == Language::EN && select(question)
            })
            .expect("English contexts have questions in every language")
        };
        let codes = experiment.recipe.languages.iter();
        let scores = codes.map(|code| (code.to_string(), scores_of(&|question| question == *code)));
        let average = ("average".to_owned(), scores_of(&|question| question != Language::EN));
        let arm_summary = ArmSummary {
            scores: scores.chain([average]).collect(),
            tokens: results.over_seeds(arm, |model| model.trained.injected_tokens as f64).mean
                as u64,
            seconds: results.over_seeds(arm, |model| model.seconds).mean,
        };
        arms.insert(arm.clone(), arm_summary);
        let labels = Labels { title: arm, setting: "G-XLT", language: "avg" };
        let is_gxlt = |context, question| context == Language::EN && question != Language::EN;
        let unit = experiment.recipe.bootstrap_unit;
        numbers.extend(measure_answers(experiment, results, arm, labels, unit, is_gxlt)?);
        let means = |scores: fn(&Trained) -> &BTreeMap<Language, f64>| {
            // A model that was trained for a pair of languages has values for this pair only.
            let mut percents: BTreeMap<Language, Vec<f64>> = BTreeMap::new();
            for (code, percent) in results.of_arm(arm).flat_map(|model| scores(&model.trained)) {
                percents.entry(*code).or_default().push(*percent);
            }
            percents
                .into_iter()
                .map(|(code, values)| (code, MeanInterval::of(values).mean))
                .collect()
        };
        let unmapped: BTreeMap<Language, f64> = means(|model| &model.retrieval);
        let mapped = means(|model| &model.mapped);
        for (row, percents) in [(arm.clone(), unmapped), (format!("{arm}, mapped"), mapped)] {
            let percent_text = |code| percents.get(code).map(|percent| format!("{percent:.1}"));
            table.add_row(&row, languages.iter().map(percent_text).map(cell));
            retrieval.insert(row, percents);
        }
        let matrix = Matrix::over_seeds(arm.as_str(), &seeds);
        matrix.write(experiment.dir("matrix").join(arm))?;
        matrices.push((arm.as_str(), matrix));
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let text = format!("{}\n{table}", table_one(&matrices));
    let remark = conclusion(&arms);
    let summary = serde_json::json!({
        "seeds": experiment.seeds(),
        "seconds": results.seconds(),
        "arms": arms,
        "retrieval": retrieval,
    });
    Ok(experiment.finish(&summary, &text, remark.as_deref().unwrap_or(""))?)
}

/// Returns a sentence that summarises the run.
fn conclusion(arms: &BTreeMap<String, ArmSummary>) -> Option<String> {
    let mean = |arm: &str| Some(arms.get(arm)?.scores.get("average")?.f1);
    let (base, injected) = (mean("base")?, mean("injected")?);
    let control_training = "with as many tokens of knowledge in one language at a time";
    let control_text =
        mean("control").map_or_else(String::new, |f1| format!(" ({f1:.1} {control_training})"));
    let verb = if injected > base { "rose" } else { "did not rise: it went" };
    Some(format!(
        "After learning each fact across languages, F1 on English text with questions in other \
         languages {verb} from {base:.1} to {injected:.1}{control_text}.\n"
    ))
}
