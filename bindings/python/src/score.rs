//! Scoring with the official rules.
use mlqa_eval::{
    LanguageScores, QuestionScore, Resampling, ScoreIntervals, score_by_language, score_squad2,
};
use pyo3::prelude::*;
use serde::{Serialize, Serializer};

use crate::arguments::{self, no_language_error, parse_json, resampling, rules, to_python};
use crate::questions::read_questions;
use crate::values::{py_error, value_error};

/// Computes exact match and F1, equal in all digits to the output of the official MLQA script.
///
/// `norm="squad"` applies SQuAD v1.1's English rules, as XQuAD prescribes for all its languages.
/// `norm="squad2"` returns the scores and keys of the official SQuAD 2.0 script; a question whose
/// `no_answer_probability` exceeds `no_answer_threshold` counts as having no answer. `norm="squad"`
/// and `norm="squad2"` ignore `lang`. `per_question=True` adds every question's result.
/// `interval=True` or a number of `resamples` adds the bootstrap intervals of `mlqa-eval score
/// --intervals`. If the question ids contain several languages, as in TyDi, omit `lang`. Each
/// question is then scored by the rules of its language, and the result has `languages`, `mean` and
/// `mean_without_en`.
#[pyfunction]
#[pyo3(signature = (
    dataset, predictions, lang=None, *, norm="mlqa", per_question=false, no_answer_threshold=1.0,
    interval=false, resamples=None, level=0.95, seed=42
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments")]
pub fn score<'py>(
    dataset: &Bound<'py, PyAny>,
    predictions: &Bound<'py, PyAny>,
    lang: Option<&str>,
    norm: &str,
    per_question: bool,
    no_answer_threshold: f64,
    interval: bool,
    resamples: Option<&Bound<'py, PyAny>>,
    level: f64,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let resampling = resampling(interval, resamples, level, seed)?;
    let settings = Settings { lang, norm, per_question, no_answer_threshold, resampling };
    let (result, unanswered) = settings.score(dataset, "dataset", predictions)?;
    result.set_item("unanswered", unanswered)?;
    Ok(result)
}

/// Computes a dict of scores from rows, like `evaluate`'s metrics `squad` and `squad_v2`.
///
/// `predictions` are a dict of ids and texts, or rows `{"id": …, "prediction_text": …}`. With
/// `norm="squad2"`, the rows also have the key `no_answer_probability`. `references` are rows
/// `{"id": …, "answers": {"text": […], "answer_start": […]}}`, and may have further keys, such as
/// other columns of a `datasets.Dataset`. Each reference must have a prediction. The scores equal
/// the scores that `score` returns.
#[pyfunction]
#[pyo3(signature = (
    predictions, references, *, lang=None, norm="mlqa", per_question=false,
    no_answer_threshold=1.0, interval=false, resamples=None, level=0.95, seed=42
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments")]
pub fn compute<'py>(
    predictions: &Bound<'py, PyAny>,
    references: &Bound<'py, PyAny>,
    lang: Option<&str>,
    norm: &str,
    per_question: bool,
    no_answer_threshold: f64,
    interval: bool,
    resamples: Option<&Bound<'py, PyAny>>,
    level: f64,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let resampling = resampling(interval, resamples, level, seed)?;
    let settings = Settings { lang, norm, per_question, no_answer_threshold, resampling };
    let (result, unanswered) = settings.score(references, "references", predictions)?;
    match unanswered.first() {
        None => Ok(result),
        Some(id) => Err(value_error(&format!("references: question `{id}` has no prediction"))),
    }
}

/// Scoring options.
struct Settings<'a> {
    lang: Option<&'a str>,
    norm: &'a str,
    per_question: bool,
    no_answer_threshold: f64,
    resampling: Option<Resampling>,
}

/// The result of `score`, with the keys of `mlqa-eval score`'s output.
#[derive(Serialize)]
struct Scores<'a> {
    exact_match: f64,
    f1: f64,
    questions: usize,
    #[serde(flatten)]
    intervals: Option<ScoreIntervals>,
    #[serde(flatten)]
    languages: Option<LanguageScores>,
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "by_id")]
    per_question: Option<&'a [QuestionScore]>,
}

/// Serialises the scores as a map from question id to score, in the order of the data set.
fn by_id<S: Serializer>(
    scores: &Option<&[QuestionScore]>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_map(scores.iter().copied().flatten().map(|score| (&score.id, score)))
}

impl Settings<'_> {
    /// Computes the scores, and returns them with the ids of questions without a prediction.
    fn score<'py>(
        &self,
        dataset: &Bound<'py, PyAny>,
        name: &str,
        predictions: &Bound<'py, PyAny>,
    ) -> PyResult<(Bound<'py, PyAny>, Vec<String>)> {
        let py = dataset.py();
        if self.norm == "squad2" {
            if self.per_question || self.resampling.is_some() {
                let problem = "does not support per_question or intervals";
                return Err(value_error(&format!("norm=\"squad2\" {problem}")));
            }
            let dataset = read_questions(dataset, name, false)?;
            let (predictions, odds) = arguments::parse_predictions(predictions)?;
            let threshold = self.no_answer_threshold;
            let score =
                py.detach(|| score_squad2(&dataset, &predictions, odds.as_ref(), threshold));
            let score = score.map_err(py_error)?;
            return Ok((parse_json(py, &score.official_json())?, score.unanswered));
        }
        let rules = rules(py, self.lang, self.norm)?;
        let dataset = read_questions(dataset, name, false)?;
        let (predictions, _) = arguments::parse_predictions(predictions)?;
        let result = py.detach(|| {
            let (score, languages) = score_by_language(&dataset, &predictions, rules)?;
            let intervals = self.resampling.map(|config| score.intervals(&config)).transpose()?;
            Ok((score, languages, intervals))
        });
        let (score, languages, intervals) = result.map_err(|error| match error {
            mlqa_eval::Error::NoLanguage { .. } => no_language_error(),
            error => py_error(error),
        })?;
        let languages = languages.filter(|scores| scores.languages.len() > 1 || rules.is_none());
        let only_english =
            languages.as_ref().is_some_and(|scores| scores.mean_without_en.is_none());
        let per_question = self.per_question.then_some(&*score.per_question);
        let (exact_match, f1, questions) = (score.exact_match, score.f1, score.questions);
        let scores = Scores { exact_match, f1, questions, intervals, languages, per_question };
        let result = to_python(py, &scores)?;
        if only_english {
            result.set_item("mean_without_en", py.None())?;
        }
        Ok((result, score.unanswered))
    }
}
