//! What the arms showed, as the paper's tables have it.
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use examples::results::{Measured, write_json, write_text};
use mlqa_eval::{Average, Cell, Language, Matrix, Spread};
use serde::{Deserialize, Serialize};

use crate::recipe::Recipe;

/// What one model showed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
pub struct ArmResult {
    /// One entry for each pair of languages.
    pub scores: Vec<Scored>,
    /// Tokens of training, padding left out.
    pub tokens: u64,
    /// Updates.
    pub steps: u64,
    /// Seconds of training and evaluation.
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

impl ArmResult {
    pub fn new(matrix: &Matrix, tokens: u64, steps: u64, seconds: f64) -> Self {
        let scored = |(context, question, cell): (Language, Language, &Cell)| Scored {
            context,
            question,
            f1: cell.f1,
            em: cell.em,
            questions: cell.questions,
        };
        Self { scores: matrix.cells().map(scored).collect(), tokens, steps, seconds }
    }

    fn matrix(&self, title: &str) -> Matrix {
        let mut matrix = Matrix::new(title);
        for &Scored { context, question, f1, em, questions } in &self.scores {
            let cell = Cell { f1, em, questions, f1_sd: None, em_sd: None };
            matrix.insert(context, question, cell);
        }
        matrix
    }
}

/// One arm of `summary.json`.
#[derive(Serialize)]
struct Arm {
    title: String,
    /// Passage and question in this language.
    languages: BTreeMap<String, Measured>,
    /// The mean of those.
    xlt: Measured,
    /// The mean over pairs of two languages.
    off_diagonal: Measured,
    /// The mean over all pairs.
    gxlt: Measured,
    /// Questions of a pair.
    questions: usize,
    tokens: u64,
    steps: u64,
    seconds: f64,
}

#[derive(Serialize)]
struct File<'a> {
    seeds: &'a [u64],
    arms: BTreeMap<&'a str, Arm>,
}

/// Writes `summary.json`, `table.md` and a matrix for each arm, and returns the table.
pub fn write(
    recipe: &Recipe,
    folder: &Path,
    results: &[(u64, String, ArmResult)],
) -> Result<String> {
    let mut arms = BTreeMap::new();
    for name in &recipe.run_arms {
        let own: Vec<&ArmResult> =
            results.iter().filter(|(_, of, _)| of == name).map(|(_, _, result)| result).collect();
        let title = recipe.arms.get(name).and_then(|arm| arm.title.clone());
        let title = title.unwrap_or_else(|| name.clone());
        let matrices: Vec<Matrix> = own.iter().map(|result| result.matrix(&title)).collect();
        let over = |of: &dyn Fn(&Matrix) -> Option<Average>| -> Result<Measured> {
            let means = matrices.iter().map(|matrix| of(matrix).map(|mean| (mean.f1, mean.em)));
            let means: Vec<(f64, f64)> =
                means.collect::<Option<_>>().context("no pair was scored")?;
            Ok(Measured::over(&means))
        };
        let mut languages = BTreeMap::new();
        for language in recipe.parsed_languages()? {
            let same = |matrix: &Matrix| matrix.mean(|c, q| c == language && q == language);
            languages.insert(language.to_string(), over(&same)?);
        }
        let first = own.first().context("no seed was run")?;
        let arm = Arm {
            languages,
            xlt: over(&Matrix::xlt)?,
            off_diagonal: over(&Matrix::off_diagonal)?,
            gxlt: over(&Matrix::gxlt)?,
            questions: first.scores.first().map_or(0, |scored| scored.questions),
            tokens: Spread::of(own.iter().map(|result| result.tokens as f64)).mean.round() as u64,
            steps: first.steps,
            seconds: Spread::of(own.iter().map(|result| result.seconds)).mean,
            title: title.clone(),
        };
        let all = match matrices.as_slice() {
            [only] => only.clone(),
            several => Matrix::over_seeds(title, several),
        };
        let place = folder.join("matrix").join(name);
        fs::create_dir_all(&place).with_context(|| place.display().to_string())?;
        all.write(&place)?;
        arms.insert(name.as_str(), arm);
    }
    let text = table(recipe, &arms);
    write_json(&folder.join("summary.json"), &File { seeds: &recipe.seeds, arms })?;
    write_text(&folder.join("table.md"), &text)?;
    Ok(text)
}

fn table(recipe: &Recipe, arms: &BTreeMap<&str, Arm>) -> String {
    let mut text = String::from("| EM / F1 |");
    for language in &recipe.languages {
        text.push_str(&format!(" {language} |"));
    }
    text.push_str(" same language | two languages | all pairs |\n|---|");
    text.push_str(&"---:|".repeat(recipe.languages.len() + 3));
    let plain = |of: &Measured| format!(" {:.1} / {:.1} |", of.em, of.f1);
    let spread = |of: &Measured| {
        let sd = |sd: Option<f64>| sd.map(|sd| format!(" ± {sd:.1}")).unwrap_or_default();
        format!(" {:.1}{} / {:.1}{} |", of.em, sd(of.em_sd), of.f1, sd(of.f1_sd))
    };
    for arm in recipe.run_arms.iter().filter_map(|name| arms.get(name.as_str())) {
        text.push_str(&format!("\n| {} |", arm.title));
        for language in &recipe.languages {
            text.push_str(&arm.languages.get(language).map_or_else(|| " – |".into(), plain));
        }
        for mean in [&arm.xlt, &arm.off_diagonal, &arm.gxlt] {
            text.push_str(&spread(mean));
        }
    }
    let first = recipe.run_arms.iter().find_map(|name| arms.get(name.as_str()));
    if let Some(arm) = first {
        text.push_str(&format!(
            "\n\n{} questions in each pair of languages; columns of one language: passage and question in it.\n",
            arm.questions
        ));
    }
    text
}
