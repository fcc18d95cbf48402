//! A run's answers to the questions of a file, or the scores that `mlqa-eval score --per-question`
//! wrote.
use std::collections::BTreeMap;
use std::path::Path;

use mlqa_eval::{
    BoundaryClass, Dataset, Normalization, Predictions, QuestionScore, Score, boundary_classes,
    read_json, score,
};
use serde::Deserialize;

/// One file, scored.
pub(crate) struct Answers {
    pub score: Score,
    /// By question, and whether the words are right but elsewhere; empty without texts.
    pub classes: Vec<(Option<BoundaryClass>, bool)>,
    /// `None` where the file has scores alone.
    pub texts: Option<Predictions>,
}

/// A question's entry in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(String),
    Score { exact_match: f64, f1: f64, answered: bool },
}

impl Answers {
    /// Reads predictions and scores them, or reads every question's score.
    pub fn read(
        path: &Path,
        dataset: &Dataset,
        rules: Normalization,
    ) -> Result<Self, mlqa_eval::Error> {
        let expected = "predictions: one object {\"<question id>\": \"<answer>\", …}, or the scores \
                        of `mlqa-eval score --per-question`";
        let entries: BTreeMap<String, Entry> = read_json(path, expected)?;
        let mut texts = BTreeMap::new();
        let mut scores = BTreeMap::new();
        for (id, entry) in entries {
            match entry {
                Entry::Text(text) => {
                    texts.insert(id, text);
                }
                Entry::Score { exact_match, f1, answered } => {
                    let exact_match = exact_match > 0.0;
                    let one = QuestionScore { id: id.clone(), exact_match, f1, answered };
                    scores.insert(id, one);
                }
            }
        }
        if let (false, Some(id)) = (scores.is_empty(), texts.keys().next()) {
            let message = format!("question `{id}` has an answer, others have scores; keep one");
            return Err(mlqa_eval::Error::Content { path: path.to_path_buf(), message });
        }
        let is_known = |id: &String| texts.contains_key(id) || scores.contains_key(id);
        if !dataset.questions.iter().any(|question| is_known(&question.id)) {
            let message = format!("answers no question of {}", dataset.path.display());
            return Err(mlqa_eval::Error::Content { path: path.to_path_buf(), message });
        }
        if scores.is_empty() {
            let texts = Predictions(texts);
            let classes = boundary_classes(dataset, &texts, rules)?;
            return Ok(Self { score: score(dataset, &texts, rules)?, classes, texts: Some(texts) });
        }
        Ok(Self { score: of_scores(dataset, &mut scores), classes: Vec::new(), texts: None })
    }
}

/// The score of a file from its questions'; one that is missing counts as not answered.
fn of_scores(dataset: &Dataset, scores: &mut BTreeMap<String, QuestionScore>) -> Score {
    let one = |id: &String| {
        let missing =
            || QuestionScore { id: id.clone(), exact_match: false, f1: 0.0, answered: false };
        scores.remove(id).unwrap_or_else(missing)
    };
    Score::of(dataset.questions.iter().map(|question| &question.id).map(one).collect())
}
