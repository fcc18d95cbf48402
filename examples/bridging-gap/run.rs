//! The run folder: resolved recipe, one folder for each model, tables at the end.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use examples::machine::Machine;
use examples::results::{ArmSummary, Measured, Summary, write_json, write_text};
use mlqa_eval::{Cell, Language, Matrix, Spread, table_one};
use serde::{Deserialize, Serialize};
use trainer::Stage;

use crate::recipe::{Group, Recipe};

/// What one model showed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ModelResult {
    /// One entry for each pair of languages.
    pub scores: Vec<Scored>,
    /// Label retrieval by language, P@1 in percent.
    pub retrieval: BTreeMap<String, f64>,
    /// Tokens of knowledge injection, padding left out.
    pub tokens: u64,
    /// Seconds of training and evaluation, earlier parts of a resumed run included.
    pub seconds: f64,
}

/// F1 and exact match of one pair of languages, in percent.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct Scored {
    pub context: Language,
    pub question: Language,
    pub f1: f64,
    pub em: f64,
    /// Number of questions.
    pub questions: usize,
}

/// A run and its folder.
pub struct Run {
    pub recipe: Recipe,
    pub folder: PathBuf,
    pub machine: Machine,
}

impl Run {
    /// Starts a run in `folder`, or goes on with the one that is there if its recipe is the same.
    pub fn open(recipe: Recipe, folder: &Path) -> Result<Self> {
        let machine = examples::folder::open(&recipe, folder)?;
        Ok(Self { recipe, folder: folder.to_owned(), machine })
    }

    /// The folder of one model.
    pub fn place(&self, seed: u64, arm: &str, group: &Group) -> PathBuf {
        self.folder.join(format!("seed-{seed}")).join(arm).join(&group.name)
    }

    /// A training stage of the model in `place`.
    pub fn stage(&self, arm: &str, name: &str, place: &Path) -> Stage {
        Stage::new(format!("{arm}: {name}"), place.join(name), self.machine.environment.clone())
    }

    /// The result of `place`, computed unless it is there already. Checkpoints go once the result is written.
    pub fn once(
        &self,
        place: &Path,
        compute: impl FnOnce() -> Result<ModelResult>,
    ) -> Result<ModelResult> {
        examples::folder::once(place, &["inject", "fine-tune"], compute)
    }

    /// Writes `summary.json`, the tables and the matrices, and returns the table in the shape of the paper's Table I.
    pub fn report(&self, results: &[(u64, String, ModelResult)]) -> Result<String> {
        let mut summary = Summary { seeds: self.recipe.seeds.clone(), ..Summary::default() };
        let mut matrices: Vec<(String, Matrix)> = Vec::new();
        for arm in &self.recipe.run_arms {
            let mut per_seed: Vec<Matrix> = Vec::new();
            let mut averages = Vec::new();
            let mut tokens = Vec::new();
            let mut seconds = Vec::new();
            let mut retrieval: BTreeMap<String, Vec<f64>> = BTreeMap::new();
            for seed in &self.recipe.seeds {
                let own: Vec<&ModelResult> = results
                    .iter()
                    .filter(|(of, name, _)| of == seed && name == arm)
                    .map(|(_, _, result)| result)
                    .collect();
                let matrix = matrix(arm, &own);
                let mean = matrix
                    .english_context()
                    .ok_or_else(|| anyhow!("arm {arm}: no question language was evaluated"))?;
                averages.push((mean.f1, mean.em));
                per_seed.push(matrix);
                tokens.push(own.iter().map(|one| one.tokens as f64).sum());
                seconds.push(own.iter().map(|one| one.seconds).sum());
                for (language, p) in own.iter().flat_map(|one| &one.retrieval) {
                    retrieval.entry(language.clone()).or_default().push(*p);
                }
            }
            let mut scores = BTreeMap::new();
            for language in &self.recipe.languages {
                let question: Language = language.parse()?;
                let cells: Vec<(f64, f64)> = per_seed
                    .iter()
                    .filter_map(|matrix| matrix.get(Language::EN, question))
                    .map(|cell| (cell.f1, cell.em))
                    .collect();
                scores.insert(language.clone(), Measured::over(&cells));
            }
            scores.insert("average".into(), Measured::over(&averages));
            let own = ArmSummary {
                scores,
                tokens: Spread::of(tokens).mean as u64,
                seconds: Spread::of(seconds).mean,
            };
            summary.arms.insert(arm.clone(), own);
            let retrieval = retrieval
                .into_iter()
                .map(|(language, values)| (language, Spread::of(values).mean))
                .collect();
            summary.retrieval.insert(arm.clone(), retrieval);
            let all = match per_seed.len() {
                1 => per_seed.remove(0),
                _ => Matrix::over_seeds(arm.clone(), &per_seed),
            };
            let folder = self.folder.join("matrix").join(arm);
            fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            all.write(&folder)?;
            matrices.push((arm.clone(), all));
        }
        summary.seconds = results.iter().map(|(_, _, result)| result.seconds).sum();
        let arms: Vec<(&str, &Matrix)> =
            matrices.iter().map(|(name, matrix)| (name.as_str(), matrix)).collect();
        let mut text = table_one(&arms);
        text.push_str(&retrieval_table(&summary, &self.recipe));
        write_text(&self.folder.join("table.md"), &text)?;
        write_json(&self.folder.join("summary.json"), &summary)?;
        Ok(text + &conclusion(&summary))
    }
}

/// The matrix of one seed, from the models of its language pairs; English questions from the first that has them.
fn matrix(arm: &str, models: &[&ModelResult]) -> Matrix {
    let mut matrix = Matrix::new(arm);
    for model in models {
        for &Scored { context, question, f1, em, questions } in &model.scores {
            if matrix.get(context, question).is_none() {
                let cell = Cell { f1, em, questions, f1_sd: None, em_sd: None };
                matrix.insert(context, question, cell);
            }
        }
    }
    matrix
}

fn retrieval_table(summary: &Summary, recipe: &Recipe) -> String {
    let languages: Vec<&String> = recipe.languages.iter().skip(1).collect();
    let mut text = String::from("\n| label retrieval P@1 |");
    for language in &languages {
        text.push_str(&format!(" {} |", language.to_uppercase()));
    }
    text.push_str("\n|---|");
    text.push_str(&"---:|".repeat(languages.len()));
    for arm in &recipe.run_arms {
        text.push_str(&format!("\n| {arm} |"));
        for language in &languages {
            let value = summary.retrieval.get(arm).and_then(|own| own.get(language.as_str()));
            text.push_str(&value.map_or(" – |".into(), |value| format!(" {value:.1} |")));
        }
    }
    text.push('\n');
    text
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
        "\nAfter learning each fact across languages, F1 on English text with questions in other languages {verb} from {base:.1} to {injected:.1}{control}.\n"
    )
}
