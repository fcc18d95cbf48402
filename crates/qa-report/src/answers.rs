//! A run's answers to the questions of a file, or the scores that `mlqa-eval score --per-question`
//! wrote.
use std::collections::BTreeMap;

use mlqa_eval::{
    BoundaryClass, Dataset, Normalization, Predictions, Question, QuestionScore, Score,
    boundary_classes, read_json, score,
};
use serde::Deserialize;

use crate::input::AnswerFile;
use crate::query_sets::Questions;

/// One file, scored.
pub(crate) struct Answers {
    pub score: Score,
    /// Class by question, and whether the text equals a gold answer at another position; empty
    /// without texts.
    pub classes: Vec<(Option<BoundaryClass>, bool)>,
    /// `None` if the file has only scores.
    pub texts: Option<Predictions>,
    /// Number of answers that do not occur in their contexts.
    pub no_span: usize,
    /// For each question of the pair, its index in `score` and `classes`; `None` if the file does
    /// not include the question.
    places: Vec<Option<usize>>,
}

/// A question's entry in a file.
#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Text(String),
    Score { exact_match: f64, f1: f64, answered: bool },
}

impl Answers {
    /// Reads answers and scores them, or reads every question's score.
    pub fn read(
        file: &AnswerFile,
        questions: &Questions,
        rules: Normalization,
    ) -> Result<Self, mlqa_eval::Error> {
        let (dataset, places) = questions.questions_of(file);
        let path = &file.predictions;
        let mut scores = BTreeMap::new();
        let texts = match &file.samples {
            Some(samples) => questions.responses(samples),
            None => {
                let (texts, found) = read_entries(file)?;
                scores = found;
                texts
            }
        };
        let is_known = |id: &String| texts.0.contains_key(id) || scores.contains_key(id);
        if !dataset.questions.iter().any(|question| is_known(&question.id)) {
            let message = format!("no answer to any question of {}", dataset.path.display());
            return Err(mlqa_eval::Error::Content { path: path.clone(), message });
        }
        if !scores.is_empty() {
            let score = of_scores(&dataset, &mut scores);
            return Ok(Self { score, classes: Vec::new(), texts: None, no_span: 0, places });
        }
        let is_elsewhere = |question: &&Question| {
            let text = texts.get(&question.id).unwrap_or_default().trim();
            !question.context.contains(text)
        };
        let no_span = dataset.questions.iter().filter(is_elsewhere).count();
        let classes = boundary_classes(&dataset, &texts, rules)?;
        let score = score(&dataset, &texts, rules)?;
        Ok(Self { score, classes, texts: Some(texts), no_span, places })
    }

    /// The score of a question of the pair; `None` if the file does not include the question.
    pub fn of(&self, at: usize) -> Option<&QuestionScore> {
        self.score.per_question.get((*self.places.get(at)?)?)
    }

    /// F1 and exact match, 0 to 1.
    pub fn values(&self, at: usize) -> Option<[f64; 2]> {
        self.of(at).map(|one| [one.f1, f64::from(u8::from(one.exact_match))])
    }

    /// The class of an answer.
    pub fn class(&self, at: usize) -> Option<BoundaryClass> {
        self.classes.get((*self.places.get(at)?)?)?.0
    }
}

/// Reads the texts or the scores of an answer file.
fn read_entries(
    file: &AnswerFile,
) -> Result<(Predictions, BTreeMap<String, QuestionScore>), mlqa_eval::Error> {
    let path = &file.predictions;
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
    match (scores.is_empty(), texts.keys().next()) {
        (false, Some(id)) => {
            let message = format!(
                "question `{id}` has an answer, but others have scores; expected only one of them"
            );
            Err(mlqa_eval::Error::Content { path: path.clone(), message })
        }
        _ => Ok((Predictions(texts), scores)),
    }
}

/// Computes a file's score from the scores of its questions; missing questions count as unanswered.
fn of_scores(dataset: &Dataset, scores: &mut BTreeMap<String, QuestionScore>) -> Score {
    let one = |id: &String| {
        let missing =
            || QuestionScore { id: id.clone(), exact_match: false, f1: 0.0, answered: false };
        scores.remove(id).unwrap_or_else(missing)
    };
    Score::of(dataset.questions.iter().map(|question| &question.id).map(one).collect())
}
