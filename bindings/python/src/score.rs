//! Official scores.
use mlqa_eval::{LanguageScores, MeanScore, QuestionScore, score_by_language};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{self, rules};
use crate::py_error;

/// Exact match and F1 with the digits of the official MLQA script.
///
/// `norm="squad"` scores by SQuAD v1.1's English rules, as XQuAD prescribes for all its languages;
/// `lang` is then not used. `per_question=True` adds every question's result. Where the ids of the
/// questions tell several languages as TyDi's do, `lang` is left out; the result has `languages`,
/// `mean` and `mean_without_en` then, each language by its own rules.
#[pyfunction]
#[pyo3(signature = (dataset, predictions, lang=None, *, norm="mlqa", per_question=false))]
pub fn score<'py>(
    py: Python<'py>,
    dataset: &Bound<'py, PyAny>,
    predictions: &Bound<'py, PyAny>,
    lang: Option<&str>,
    norm: &str,
    per_question: bool,
) -> PyResult<Bound<'py, PyDict>> {
    let rules = rules(py, lang, norm)?;
    let dataset = arguments::dataset(dataset)?;
    let predictions = arguments::predictions(predictions)?;
    let scored = py.detach(|| score_by_language(&dataset, &predictions, rules));
    let (score, languages) = scored.map_err(|error| match error {
        mlqa_eval::Error::NoLanguage { .. } => PyValueError::new_err(
            "norm=\"mlqa\" needs lang, the language of context and answer, such as \"en\"",
        ),
        error => py_error(error),
    })?;
    let result = PyDict::new(py);
    result.set_item("exact_match", score.exact_match)?;
    result.set_item("f1", score.f1)?;
    result.set_item("questions", score.questions)?;
    result.set_item("unanswered", score.unanswered)?;
    let shown = |by: &LanguageScores| by.languages.len() > 1 || rules.is_none();
    if let Some(by) = languages.filter(shown) {
        add_languages(&result, &by)?;
    }
    if per_question {
        let questions = PyDict::new(py);
        for one in &score.per_question {
            questions.set_item(&one.id, entry(py, one)?)?;
        }
        result.set_item("per_question", questions)?;
    }
    Ok(result)
}

fn add_languages(result: &Bound<'_, PyDict>, by: &LanguageScores) -> PyResult<()> {
    let py = result.py();
    let mean = |mean: &MeanScore| entry_of(py, mean.exact_match, mean.f1);
    result.set_item("mean", mean(&by.mean)?)?;
    result.set_item("mean_without_en", by.mean_without_en.as_ref().map(mean).transpose()?)?;
    let languages = PyDict::new(py);
    for (language, own) in &by.languages {
        let entry = entry_of(py, own.exact_match, own.f1)?;
        entry.set_item("questions", own.questions)?;
        languages.set_item(language.to_string(), entry)?;
    }
    result.set_item("languages", languages)
}

fn entry_of(py: Python<'_>, exact_match: f64, f1: f64) -> PyResult<Bound<'_, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("exact_match", exact_match)?;
    entry.set_item("f1", f1)?;
    Ok(entry)
}

/// A question's result, as `mlqa-eval score --per-question` writes it.
fn entry<'py>(py: Python<'py>, one: &QuestionScore) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("exact_match", u8::from(one.exact_match))?;
    entry.set_item("f1", one.f1)?;
    entry.set_item("answered", one.answered)?;
    Ok(entry)
}
