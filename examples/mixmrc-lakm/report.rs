//! Tables 7 to 9 of the paper from the scores of the arms.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use examples::numbers::{Labels, measure_answers};
use experiment::{Experiment, Results};
use mlqa_eval::{FileScore, Language, Matrix};
use results::{Measured, ScoreMeans, Table, cell};
use serde::Serialize;

use crate::recipe::Recipe;

/// One arm of `summary.json`; scores are means over seeds.
#[derive(Serialize)]
struct ArmSummary {
    title: String,
    /// Scores by language, with context and question in the same language.
    languages: BTreeMap<String, ScoreMeans>,
    /// The mean of `languages`.
    xlt: Option<ScoreMeans>,
    /// The mean over pairs of different languages; absent if there is no such pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    off_diagonal: Option<ScoreMeans>,
    /// The mean over all pairs.
    gxlt: Option<ScoreMeans>,
    /// Number of questions of the first language pair.
    questions: usize,
    tokens: u64,
    steps: u64,
    seconds: f64,
}

/// A title, and the pairs of context and question language over which a mean is computed.
type TitledPairs = (&'static str, fn(Language, Language) -> bool);

const MEANS: [TitledPairs; 3] = [
    ("same language", |context, question| context == question),
    ("two languages", |context, question| context != question),
    ("all pairs", |_, _| true),
];

/// Means over two groups of pairs of different languages: with and without English. Mixed training
/// questions always have English as one of their two languages.
const MIXED_COLUMNS: [TitledPairs; 2] = [
    ("one of them English", |context, question| {
        context != question && [context, question].contains(&Language::EN)
    }),
    ("neither English", |context, question| {
        context != question && ![context, question].contains(&Language::EN)
    }),
];

/// Writes `summary.json`, `table.md` and a matrix for each arm.
pub fn write(
    experiment: &Experiment<Recipe>,
    results: &Results<u64, Vec<FileScore>>,
) -> Result<()> {
    let Recipe { arms: recipe_arms, languages, .. } = &experiment.recipe;
    let means = MEANS.map(|(setting, _)| setting.to_owned());
    let mut table = Table::new("EM / F1", languages.iter().map(Language::to_string).chain(means));
    let mut mixed = Table::new("EM / F1, two languages", MIXED_COLUMNS.map(|(setting, _)| setting));
    let (mut arms, mut numbers, mut counts) = (Vec::new(), Vec::new(), Vec::new());
    for name in experiment.arms() {
        let title = recipe_arms[name].title.as_ref().unwrap_or(name);
        let seeds = results.of_arm(name).map(|model| Matrix::of_files(title, &model.evaluated));
        let seeds: Vec<Matrix> = seeds.collect();
        let matrix = Matrix::over_seeds(title, &seeds);
        matrix.write(experiment.dir("matrix").join(name))?;
        counts.extend(matrix.cells().map(|(_, _, cell)| cell.questions));
        let language_scores = |code: &Language| {
            let scores = Matrix::mean_over_seeds(&seeds, |context, question| {
                [context, question] == [*code; 2]
            });
            Some((code.to_string(), scores?))
        };
        let diagonal = languages.iter().map(language_scores).collect::<Option<Vec<_>>>();
        let diagonal = diagonal.context("no pair was scored")?;
        let [xlt, off_diagonal, gxlt] =
            MEANS.map(|(_, select)| Matrix::mean_over_seeds(&seeds, select));
        for (setting, select) in MEANS {
            let labels = Labels { title, setting, language: "avg" };
            let unit = experiment.recipe.bootstrap_unit;
            numbers.extend(measure_answers(experiment, results, name, labels, unit, select)?);
        }
        let text =
            |(_, scores): &(String, ScoreMeans)| format!("{:.1} / {:.1}", scores.em, scores.f1);
        let cell_of = |mean: Option<ScoreMeans>| {
            cell(mean.map(|scores| format!("{} / {}", scores.em(), scores.f1())))
        };
        let mean = |select| cell_of(Matrix::mean_over_seeds(&seeds, select));
        mixed.add_row(title, MIXED_COLUMNS.map(|(_, select)| mean(select)));
        table.add_row(
            title,
            diagonal.iter().map(text).chain([xlt, off_diagonal, gxlt].map(cell_of)),
        );
        let arm = ArmSummary {
            title: title.clone(),
            languages: diagonal.into_iter().collect(),
            xlt,
            off_diagonal,
            gxlt,
            questions: matrix.cells().next().context("no file was scored")?.2.questions,
            tokens: results.over_seeds(name, |model| model.tokens as f64).mean.round() as u64,
            steps: results.of_arm(name).next().context("no seed was run")?.trained,
            seconds: results.over_seeds(name, |model| model.seconds).mean,
        };
        arms.push((name.as_str(), arm));
    }
    Measured::write(experiment.dir("numbers.jsonl"), &numbers)?;
    let questions = match (counts.iter().min(), counts.iter().max()) {
        (Some(min), Some(max)) if min != max => format!("{min} to {max}"),
        (min, _) => min.map_or(0, |count| *count).to_string(),
    };
    let note = "questions in each pair of languages; in a column of one language, passage \
                 and question are in this language.";
    let has_two_languages = arms.iter().any(|(_, arm)| arm.off_diagonal.is_some());
    let mixed = if has_two_languages { format!("\n{mixed}") } else { String::new() };
    Ok(experiment.finish_arms(&arms, &format!("{table}\n{questions} {note}\n{mixed}"), "")?)
}
