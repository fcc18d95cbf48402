//! A G-XLT matrix over seeds in a few numbers, and several of them as a table.
use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::{Average, Language, Matrix, ScoreSpread, Spread};

/// The means of the matrices of several seeds.
///
/// ```
/// use mlqa_eval::{Cell, Language, Matrix, MatrixSummary};
///
/// let seed = |f1| {
///     let mut matrix = Matrix::new("a seed");
///     let cell = |f1| Cell { f1, em: f1, questions: 9, f1_sd: None, em_sd: None };
///     matrix.insert(Language::EN, Language::EN, cell(f1));
///     matrix.insert(Language::EN, Language::DE, cell(f1 - 10.0));
///     matrix
/// };
/// let seeds = [seed(30.0), seed(32.0)];
/// let summary = MatrixSummary::over_seeds(&seeds, &[Language::EN]).unwrap();
/// assert_eq!((summary.xlt.f1, summary.off_diagonal.unwrap().f1), (31.0, 21.0));
/// assert!(MatrixSummary::over_seeds(&seeds, &[Language::DE]).is_none());
/// ```
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub struct MatrixSummary {
    /// Context and question in this language.
    pub languages: BTreeMap<String, ScoreSpread>,
    /// The mean of those.
    pub xlt: ScoreSpread,
    /// The mean over pairs of two languages; absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_diagonal: Option<ScoreSpread>,
    /// The mean over all pairs.
    pub gxlt: ScoreSpread,
    /// Questions of the first pair.
    pub questions: usize,
}

impl MatrixSummary {
    /// The summary of each seed's matrix; `None` if one lacks a language.
    pub fn over_seeds(seeds: &[Matrix], languages: &[Language]) -> Option<Self> {
        let over = |mean: &dyn Fn(&Matrix) -> Option<Average>| {
            let means = seeds.iter().map(|matrix| mean(matrix).map(|mean| (mean.f1, mean.em)));
            let means: Option<Vec<(f64, f64)>> = means.collect();
            means.filter(|means| !means.is_empty()).map(ScoreSpread::of)
        };
        let same = |language: &Language| {
            let both = |context, question| context == *language && question == *language;
            Some((language.to_string(), over(&|matrix| matrix.mean(both))?))
        };
        Some(Self {
            languages: languages.iter().map(same).collect::<Option<_>>()?,
            xlt: over(&Matrix::xlt)?,
            off_diagonal: over(&Matrix::off_diagonal),
            gxlt: over(&Matrix::gxlt)?,
            questions: seeds.first()?.cells().next()?.2.questions,
        })
    }

    /// A Markdown table with a row of exact match / F1 for each run, spread over seeds in the means
    /// alone, and the number of questions below it.
    pub fn table(languages: &[Language], runs: &[(&str, &Self)]) -> String {
        let codes: Vec<String> = languages.iter().map(Language::to_string).collect();
        let names: String = codes.iter().map(|code| format!(" {code} |")).collect();
        let rule = "---:|".repeat(codes.len() + 3);
        let mut text =
            format!("| EM / F1 |{names} same language | two languages | all pairs |\n|---|{rule}");
        for (title, run) in runs {
            let _ = write!(text, "\n| {} |", title.replace('|', "\\|"));
            for code in &codes {
                let cell = run.languages.get(code);
                let cell = cell.map(|scores| format!("{:.1} / {:.1}", scores.em, scores.f1));
                let _ = write!(text, " {} |", cell.as_deref().unwrap_or("–"));
            }
            for mean in [Some(run.xlt), run.off_diagonal, Some(run.gxlt)] {
                let Some(ScoreSpread { f1, em, f1_sd, em_sd }) = mean else {
                    text.push_str(" – |");
                    continue;
                };
                let em = Spread { mean: em, sd: em_sd }.text(1);
                let _ = write!(text, " {em} / {} |", Spread { mean: f1, sd: f1_sd }.text(1));
            }
        }
        let questions = runs.first().map_or(0, |(_, run)| run.questions);
        let below = "questions in each pair of languages; columns of one language: passage and \
                     question in it.";
        let _ = write!(text, "\n\n{questions} {below}\n");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;

    #[test]
    fn a_table_spreads_its_means() {
        let seed = |f1: f64| {
            let mut matrix = Matrix::new("a seed");
            for context in [Language::EN, Language::DE] {
                for question in [Language::EN, Language::DE] {
                    let f1 = f1 + if context == question { 10.0 } else { 0.0 };
                    let cell = Cell { f1, em: f1 / 2.0, questions: 9, f1_sd: None, em_sd: None };
                    matrix.insert(context, question, cell);
                }
            }
            matrix
        };
        let languages = [Language::EN, Language::DE];
        let summary = MatrixSummary::over_seeds(&[seed(20.0), seed(24.0)], &languages).unwrap();
        let table = MatrixSummary::table(&languages, &[("a run", &summary)]);
        let row = "\n| a run | 16.0 / 32.0 | 16.0 / 32.0 | 16.0 ± 1.4 / 32.0 ± 2.8 | \
                   11.0 ± 1.4 / 22.0 ± 2.8 | 13.5 ± 1.4 / 27.0 ± 2.8 |\n\n9 questions in";
        assert!(table.contains(row), "{table}");
        let head = "| EM / F1 | en | de | same language | two languages | all pairs |\n";
        assert!(table.starts_with(head), "{table}");
        assert!(MatrixSummary::over_seeds(&[], &languages).is_none());

        // Without questions in another language than the text.
        let mut alone = Matrix::new("alone");
        for (context, question, cell) in seed(20.0).cells() {
            if context == question {
                alone.insert(context, question, cell.clone());
            }
        }
        let summary = MatrixSummary::over_seeds(&[alone], &languages).unwrap();
        let table = MatrixSummary::table(&languages, &[("a run", &summary)]);
        let row = "\n| a run | 15.0 / 30.0 | 15.0 / 30.0 | 15.0 / 30.0 | – | 15.0 / 30.0 |";
        assert!(table.contains(row), "{table}");
    }
}
