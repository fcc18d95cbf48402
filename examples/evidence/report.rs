//! What was marked rightly, and how much of the training evidence was.
use std::collections::HashMap;

use anyhow::{Context, Result};
use examples::numbers::of_answers;
use experiment::{Experiment, Results};
use mlqa_eval::{Dataset, FileScore, Language, Matrix};
use results::{Measured, ScoreSpread, Table, cell};
use serde::Serialize;
use tasks::question_answering::question_file;

use crate::recipe::{Arm, Recipe};

/// One arm of `summary.json`; scores are means over seeds.
#[derive(Serialize)]
struct ArmSummary {
    title: String,
    same_language: ScoreSpread,
    /// Absent where there is no such pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    two_languages: Option<ScoreSpread>,
    tokens: u64,
    steps: u64,
    seconds: f64,
}

/// Pairs of languages that a mean is taken over, of passage and question.
type Pairs = (&'static str, fn(Language, Language) -> bool);

const MEANS: [Pairs; 2] = [
    ("same language", |context, question| context == question),
    ("two languages", |context, question| context != question),
];

/// Writes `summary.json`, `table.md`, `numbers.jsonl` and a matrix for each arm.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<u64, Vec<FileScore>>,
) -> Result<()> {
    let Recipe { arms: all, languages, bootstrap_unit, .. } = &experiment.recipe;
    let codes = languages.iter().map(Language::to_string);
    let columns = codes.chain(MEANS.map(|(setting, _)| setting.to_owned()));
    let mut table = Table::new("sentences right, %", columns);
    let others = languages.get(1..).unwrap_or_default();
    let mut placed = Table::new(
        "training labels found, and right of these, %",
        others.iter().map(ToString::to_string),
    );
    let (mut arms, mut numbers) = (Vec::new(), Vec::new());
    for name in experiment.arms() {
        let arm = all.get(name).context("arm")?;
        let title = arm.title.as_ref().unwrap_or(name);
        let seeds: Vec<Matrix> =
            results.of_arm(name).map(|model| Matrix::of_files(title, &model.evaluated)).collect();
        Matrix::over_seeds(title, &seeds).write(experiment.dir("matrix").join(name))?;
        let of_language =
            |&code: &Language| Some(Matrix::spread(&seeds, |a, b| [a, b] == [code; 2])?.em);
        let own = languages.iter().map(|code| cell(of_language(code).map(|em| format!("{em:.1}"))));
        let [same, two] = MEANS.map(|(_, keep)| Matrix::spread(&seeds, keep));
        let means =
            [&same, &two].map(|mean| cell(mean.as_ref().map(|scores| scores.em().to_string())));
        table.row(title, own.chain(means));
        for (setting, keep) in MEANS {
            let (of_run, names) = ((experiment, results), (name.as_str(), title.as_str()));
            numbers.extend(of_answers(of_run, names, (setting, "avg"), *bootstrap_unit, keep)?);
        }
        if arm.guess.is_none() && !arm.source_alone {
            let shares = others.iter().map(|&code| labels(&experiment.recipe, arm, code));
            placed.row(title, shares.collect::<Result<Vec<_>>>()?);
        }
        let summary = ArmSummary {
            title: title.clone(),
            same_language: same.context("no passage has questions in its language")?,
            two_languages: two,
            tokens: results.over_seeds(name, |model| model.tokens as f64).mean.round() as u64,
            steps: results.of_arm(name).next().context("no seed was run")?.trained,
            seconds: results.over_seeds(name, |model| model.seconds).mean,
        };
        arms.push((name.as_str(), summary));
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let below = "Columns of one language: passage and question in it.";
    Ok(experiment.finish_arms(&arms, &format!("{table}\n{below}\n\n{placed}"), "")?)
}

/// Of the training questions in a language: which share the arm's data has, and which share of
/// these has the evidence that the passage's own answer says.
fn labels(recipe: &Recipe, arm: &Arm, language: Language) -> Result<String> {
    let starts = |folder: &std::path::Path| -> Result<HashMap<String, usize>> {
        let data = Dataset::read(question_file(folder, "train", language, language))?;
        let start =
            |one: &mlqa_eval::Question| Some((one.id.clone(), one.answers.first()?.answer_start));
        Ok(data.questions.iter().filter_map(start).collect())
    };
    let (own, gold) = (starts(&arm.data)?, starts(&recipe.data.evaluation)?);
    let right = own.iter().filter(|(id, start)| gold.get(*id) == Some(start)).count();
    let share = |part: usize, whole: usize| 100.0 * part as f64 / whole.max(1) as f64;
    Ok(format!("{:.0}, {:.0}", share(own.len(), gold.len()), share(right, own.len())))
}
