//! Table I of the paper, label retrieval, and `summary.json`.
use std::collections::BTreeMap;

use anyhow::{Context, Result};
use experiment::table::{Table, cell};
use experiment::{Experiment, Results};
use mlqa_eval::{Language, Matrix, ScoreSpread, Spread, table_one};
use serde::{Deserialize, Serialize};
use tasks::question_answering::FileScore;

use crate::recipe::Recipe;

/// What training shows of a model.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Trained {
    /// Label retrieval after injection by language, P@1 in percent.
    pub retrieval: BTreeMap<String, f64>,
    /// Tokens of knowledge injection, padding left out.
    pub injected_tokens: u64,
}

/// `summary.json`.
#[derive(Default, Serialize)]
struct Summary {
    seeds: Vec<u64>,
    arms: BTreeMap<String, ArmSummary>,
    /// Label retrieval by arm and language, P@1 in percent; the mean over seeds.
    retrieval: BTreeMap<String, BTreeMap<String, f64>>,
    /// Seconds of all arms and seeds.
    seconds: f64,
}

#[derive(Serialize)]
struct ArmSummary {
    /// By question language; contexts are English. `average` is the mean of all but `en`.
    #[serde(flatten)]
    scores: BTreeMap<String, ScoreSpread>,
    /// Tokens of knowledge injection; the mean over seeds.
    tokens: u64,
    /// Seconds of training and evaluation; the mean over seeds.
    seconds: f64,
}

/// Writes the matrices, `table.md` and `summary.json`, and prints the tables.
pub fn write(experiment: &Experiment<Recipe>, results: &Results<Trained, Vec<FileScore>>) -> Result<()> {
    let languages = &experiment.recipe.languages;
    let mut summary = Summary { seeds: experiment.seeds().to_vec(), ..Summary::default() };
    let mut matrices: Vec<(&str, Matrix)> = Vec::new();
    for arm in experiment.arms() {
        let (mut per_seed, mut tokens, mut seconds) = (Vec::new(), Vec::new(), Vec::new());
        let mut retrieval: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for &seed in experiment.seeds() {
            // The models of the arm's language pairs; English questions from the first that has them.
            let mut matrix = Matrix::new(arm);
            results.of_cell(seed, arm).for_each(|result| matrix.fill(&tasks::question_answering::matrix(arm, &result.evaluated)));
            per_seed.push(matrix);
            let models = || results.of_cell(seed, arm);
            tokens.push(models().map(|one| one.trained.injected_tokens as f64).sum());
            seconds.push(models().map(|one| one.seconds).sum());
            for (language, p) in models().flat_map(|one| &one.trained.retrieval) {
                retrieval.entry(language.clone()).or_default().push(*p);
            }
        }
        let averages = per_seed.iter().filter_map(Matrix::english_context);
        let mut scores = BTreeMap::new();
        scores.insert("average".into(), ScoreSpread::of(averages.map(|mean| (mean.f1, mean.em))));
        for &language in languages {
            let cells = per_seed.iter().filter_map(|matrix| matrix.get(Language::EN, language));
            let spread = ScoreSpread::of(cells.map(|cell| (cell.f1, cell.em)));
            scores.insert(language.to_string(), spread);
        }
        let (tokens, seconds) = (Spread::of(tokens).mean as u64, Spread::of(seconds).mean);
        summary.arms.insert(arm.clone(), ArmSummary { scores, tokens, seconds });
        let means = retrieval.into_iter().map(|(code, values)| (code, Spread::of(values).mean));
        summary.retrieval.insert(arm.clone(), means.collect());
        let matrix = match per_seed.as_slice() {
            [one] => one.clone(),
            seeds => Matrix::over_seeds(arm.clone(), seeds),
        };
        let folder = experiment.dir("matrix").join(arm);
        std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        matrix.write(&folder)?;
        matrices.push((arm, matrix));
    }
    summary.seconds = results.seconds();
    let arms: Vec<(&str, &Matrix)> = matrices.iter().map(|(name, m)| (*name, m)).collect();
    let text = format!("{}\n{}", table_one(&arms), retrieval_table(&summary, experiment));
    Ok(experiment.finish(&summary, &text, &conclusion(&summary))?)
}

fn retrieval_table(summary: &Summary, experiment: &Experiment<Recipe>) -> Table {
    let languages: Vec<&Language> = experiment.recipe.languages.iter().skip(1).collect();
    let columns = languages.iter().map(|language| language.as_str().to_uppercase());
    let mut table = Table::new("label retrieval P@1", columns);
    for arm in experiment.arms() {
        let of_arm = summary.retrieval.get(arm);
        let values = languages.iter().map(|code| of_arm?.get(code.as_str()).copied());
        table.row(arm, values.map(cell));
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
