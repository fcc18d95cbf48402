//! Exact match and F1 with the official scripts' digits.
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use rayon::prelude::*;
use serde::Serialize;

use crate::predictions::write_json;
use crate::{Dataset, EvalError, Normalization, Predictions, Question};

/// One question's result.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QuestionScore {
    /// The question's id.
    #[serde(skip)]
    pub id: String,
    /// Whether the normalised prediction equals a normalised gold answer.
    #[serde(serialize_with = "as_number")]
    pub exact_match: bool,
    /// Best token overlap with a gold answer, 0 to 1.
    pub f1: f64,
    /// Whether there was a prediction.
    pub answered: bool,
}

/// The result of a question file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Score {
    /// Percentage of exact matches among all questions.
    pub exact_match: f64,
    /// Mean F1 of all questions, times 100.
    pub f1: f64,
    /// Number of questions.
    pub questions: usize,
    /// Ids of questions without a prediction, in file order; they count as 0.
    pub unanswered: Vec<String>,
    /// Every question's result, in file order.
    #[serde(skip)]
    pub per_question: Vec<QuestionScore>,
}

impl Score {
    /// What the official scripts print: `{"exact_match": 27.5, "f1": 50.14262371615313}`.
    pub fn official_json(&self) -> String {
        let [exact_match, f1] = [self.exact_match, self.f1].map(python_float);
        format!("{{\"exact_match\": {exact_match}, \"f1\": {f1}}}")
    }

    /// Writes `{"<id>": {"exact_match": 1, "f1": 1.0, "answered": true}, …}`, ids sorted,
    /// atomically.
    ///
    /// # Errors
    /// [`EvalError::Write`].
    pub fn write_per_question(&self, path: impl AsRef<Path>) -> Result<(), EvalError> {
        let by_id: BTreeMap<&str, &QuestionScore> =
            self.per_question.iter().map(|one| (one.id.as_str(), one)).collect();
        write_json(path.as_ref(), &by_id)
    }
}

/// Scores predictions. Predictions for other ids are ignored, a missing one counts 0, as in the
/// official scripts; sums run in file order, so that every digit agrees with them.
///
/// ```
/// use mlqa_eval::{Dataset, Language, Normalization, Predictions, score, squad};
///
/// let text = r#"{"version": "1.0", "data": [{"paragraphs": [
///     {"context": "Ein rotes Haus.", "qas": [{"id": "q1", "question": "Was?", "answers": [
///         {"text": "rotes Haus", "answer_start": 4}]}]}]}]}"#;
/// let dataset = Dataset::from_squad(squad::File::parse(text, "test.json")?, "test.json")?;
/// let predictions = Predictions([("q1".to_owned(), "das Haus".to_owned())].into());
/// let result = score(&dataset, &predictions, Normalization::Mlqa(Language::DE))?;
/// // The article does not count: one of two words was found.
/// assert_eq!(result.official_json(), r#"{"exact_match": 0.0, "f1": 66.66666666666666}"#);
/// # Ok::<(), mlqa_eval::EvalError>(())
/// ```
///
/// # Errors
/// [`EvalError::NoQuestions`]; [`EvalError::NoGold`] if an answered question has no gold answer.
pub fn score(
    dataset: &Dataset,
    predictions: &Predictions,
    normalization: Normalization,
) -> Result<Score, EvalError> {
    if dataset.questions.is_empty() {
        return Err(EvalError::NoQuestions { path: dataset.path.clone() });
    }
    let per_question: Vec<QuestionScore> = dataset
        .questions
        .par_iter()
        .map(|question| {
            let id = question.id.clone();
            let Some(prediction) = predictions.get(&question.id) else {
                return Ok(QuestionScore { id, exact_match: false, f1: 0.0, answered: false });
            };
            let (exact_match, f1) = score_one(question, prediction, normalization)
                .ok_or_else(|| EvalError::NoGold { path: dataset.path.clone(), id: id.clone() })?;
            Ok(QuestionScore { id, exact_match, f1, answered: true })
        })
        .collect::<Result<_, EvalError>>()?;
    let questions = per_question.len();
    let matches = per_question.iter().filter(|one| one.exact_match).count();
    // `Iterator::sum` for f64 starts at -0.0.
    let overlap = per_question.iter().fold(0.0, |sum, one| sum + one.f1);
    Ok(Score {
        exact_match: 100.0 * matches as f64 / questions as f64,
        f1: 100.0 * overlap / questions as f64,
        questions,
        unanswered: per_question.iter().filter(|q| !q.answered).map(|q| q.id.clone()).collect(),
        per_question,
    })
}

/// The best exact match and the best F1 over the gold answers; `None` without gold answers.
fn score_one(question: &Question, prediction: &str, rules: Normalization) -> Option<(bool, f64)> {
    let predicted = rules.tokens(prediction);
    question.answers.iter().fold(None, |best: Option<(bool, f64)>, answer| {
        let gold = rules.tokens(&answer.text);
        let (exact_match, f1) = best.unwrap_or((false, 0.0));
        Some((exact_match || predicted == gold, f1.max(overlap_f1(&predicted, &gold))))
    })
}

/// F1 of two token multisets; 0 without a common token, even if both are empty.
pub(crate) fn overlap_f1(predicted: &[String], gold: &[String]) -> f64 {
    let mut counts: HashMap<&str, usize> = HashMap::with_capacity(gold.len());
    for token in gold {
        *counts.entry(token).or_default() += 1;
    }
    let same = predicted
        .iter()
        .filter(|token| match counts.get_mut(token.as_str()) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
        .count();
    if same == 0 {
        return 0.0;
    }
    let precision = same as f64 / predicted.len() as f64;
    let recall = same as f64 / gold.len() as f64;
    (2.0 * precision * recall) / (precision + recall)
}

/// A float as Python's `repr` writes it: shortest digits that read back the same, `60.0` for whole
/// numbers, exponents below 1e-4 and from 1e16 on.
pub fn python_float(value: f64) -> String {
    let size = value.abs();
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity".into() } else { "-Infinity".into() };
    }
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        return match text.split_once('e') {
            Some((digits, exponent)) => match exponent.strip_prefix('-') {
                Some(exponent) => format!("{digits}e-{exponent:0>2}"),
                None => format!("{digits}e+{exponent:0>2}"),
            },
            None => text,
        };
    }
    format!("{value:?}")
}

// serde's `serialize_with` hands over a reference.
fn as_number<S: serde::Serializer>(value: &bool, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(u8::from(*value))
}

#[cfg(test)]
mod tests {
    use super::python_float;

    #[test]
    fn floats_as_python_writes_them() {
        // python3: [repr(x) for x in (...)]
        for (value, text) in [
            (60.0, "60.0"),
            (0.0, "0.0"),
            (27.5, "27.5"),
            (50.14262371615313, "50.14262371615313"),
            (0.0001, "0.0001"),
            (8.628127696289905e-5, "8.628127696289905e-05"),
            (1e-5, "1e-05"),
            (1e16, "1e+16"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"),
        ] {
            assert_eq!(python_float(value), text);
        }
    }
}
