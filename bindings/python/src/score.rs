//! Official scores.
use mlqa_eval::QuestionScore;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{DatasetArgument, PredictionsArgument, rules};
use crate::py_error;

/// Exact match and F1 with the digits of the official MLQA script.
///
/// `norm="squad"` scores by SQuAD v1.1's English rules, as XQuAD prescribes for all its languages;
/// `lang` is then not used. `per_question=True` adds every question's result.
#[pyfunction]
#[pyo3(signature = (dataset, predictions, lang=None, *, norm="mlqa", per_question=false))]
pub fn score<'py>(
    py: Python<'py>,
    dataset: DatasetArgument<'py>,
    predictions: PredictionsArgument,
    lang: Option<&str>,
    norm: &str,
    per_question: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let rules = rules(py, lang, norm)?;
    let dataset = dataset.read(py)?;
    let predictions = predictions.read(py)?;
    let score = py.detach(|| mlqa_eval::score(&dataset, &predictions, rules)).map_err(py_error)?;
    let result = PyDict::new(py);
    result.set_item("exact_match", score.exact_match)?;
    result.set_item("f1", score.f1)?;
    result.set_item("questions", score.questions)?;
    result.set_item("unanswered", score.unanswered)?;
    if per_question {
        let questions = PyDict::new(py);
        for one in &score.per_question {
            questions.set_item(&one.id, entry(py, one)?)?;
        }
        result.set_item("per_question", questions)?;
    }
    Ok(result)
}

/// A question's result, as `mlqa-eval score --per-question` writes it.
fn entry<'py>(py: Python<'py>, one: &QuestionScore) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("exact_match", u8::from(one.exact_match))?;
    entry.set_item("f1", one.f1)?;
    entry.set_item("answered", one.answered)?;
    Ok(entry)
}
