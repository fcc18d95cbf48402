//! Conversion of arguments that several functions have in common.
use std::collections::BTreeMap;
use std::path::PathBuf;

use mlqa_eval::{Language, MLQA_LANGUAGES, Normalization, NullOdds, Predictions, Resampling};
use pyo3::exceptions::PyOverflowError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Serialize;

use crate::values::{
    InputError, Parsed, field, missing_field, py_error, question_id, text, type_name, value_error,
    warn,
};

/// Converts predictions: answers by question id, rows in `evaluate`'s format, or a file with either
/// format. For rows, also returns the values of `no_answer_probability` as null odds.
pub fn parse_predictions(argument: &Bound<'_, PyAny>) -> PyResult<(Predictions, Option<NullOdds>)> {
    if let Ok(answers) = argument.cast::<PyDict>() {
        let answers = answers.iter().map(|(id, answer)| {
            let Ok(id) = id.extract::<String>() else {
                return Err(value_error(&format!(
                    "predictions: {id}: expected a question's id, a str"
                )));
            };
            answer.extract().map(|answer| (id.clone(), answer)).map_err(|_| {
                let got = if answer.is_none() { "None".to_owned() } else { type_name(&answer) };
                value_error(&format!(
                    "predictions: question `{id}`: expected its answer, a str, got {got}"
                ))
            })
        });
        let answers = answers.collect::<PyResult<BTreeMap<String, String>>>()?;
        return Ok((Predictions(answers), None));
    }
    if let Ok(path) = argument.extract::<PathBuf>() {
        return argument.py().detach(|| Predictions::read_with_odds(path)).map_err(py_error);
    }
    let Ok(rows) = argument.try_iter() else {
        return Err(value_error(&format!(
            "predictions: expected {{\"<question id>\": \"<answer>\", …}}, rows {{\"id\": …, \
             \"prediction_text\": …}} or a file of either, got {}",
            type_name(argument)
        )));
    };
    let (mut answers, mut odds) = (BTreeMap::new(), Vec::new());
    for (k, row) in rows.enumerate() {
        let row = row?;
        let location = format!("predictions: row {}", k + 1);
        let (id, answer, row_odds) =
            parse_prediction(&row).map_err(|error| error.at_question(&row, &location))?;
        odds.extend(row_odds.map(|row_odds| (id.clone(), row_odds)));
        if answers.insert(id.clone(), answer).is_some() {
            return Err(value_error(&format!("{location}: question `{id}` has two predictions")));
        }
    }
    Ok((Predictions(answers), Some(NullOdds(odds)).filter(|odds| !odds.0.is_empty())))
}

fn parse_prediction(row: &Bound<'_, PyAny>) -> Parsed<(String, String, Option<f64>)> {
    let py = row.py();
    let answer = text(row, intern!(py, "prediction_text"), true)?;
    let id = question_id(row)?.ok_or_else(|| missing_field("id"))?;
    let key = intern!(py, "no_answer_probability");
    let odds = field(row, key)?.map(|odds| {
        let not_a_number =
            |_| InputError::Format(format!("`{key}`: expected a number, got {}", type_name(&odds)));
        odds.extract().map_err(not_a_number)
    });
    Ok((id, answer, odds.transpose()?))
}

/// Defines converters of counts; a negative or too large value raises a `ValueError` that names the
/// argument.
macro_rules! counts {
    ($($name:ident),*) => {$(
        pub fn $name(value: &Bound<'_, PyAny>) -> PyResult<usize> {
            value.extract::<u32>().map(|count| count as usize).map_err(|error| {
                match error.is_instance_of::<PyOverflowError>(value.py()) {
                    true => value_error(&format!(
                        "{}={value}: must be from 0 to {}", stringify!($name), u32::MAX
                    )),
                    false => error,
                }
            })
        }
    )*};
}

counts!(n_best, max_answer_length, max_length, doc_stride, max_question_length, resamples);

/// Returns the bootstrap settings if `interval` is true or `resamples` is set.
pub fn resampling(
    interval: bool,
    resamples: Option<&Bound<'_, PyAny>>,
    level: f64,
    seed: u64,
) -> PyResult<Option<Resampling>> {
    let samples = resamples.map(self::resamples).transpose()?;
    let is_requested = interval || samples.is_some();
    let samples = samples.unwrap_or(Resampling::default().samples);
    Ok(is_requested.then_some(Resampling { samples, level, seed }))
}

/// Returns the rules for `norm` and the language `lang`. Returns `None` for `norm="mlqa"` without a
/// language; the rules of each question's language then apply. A language outside MLQA causes a
/// warning, because it may be a typing error.
pub fn rules(py: Python<'_>, lang: Option<&str>, norm: &str) -> PyResult<Option<Normalization>> {
    match (norm, lang) {
        ("squad", _) => Ok(Some(Normalization::SquadEn)),
        ("mlqa", None) => Ok(None),
        ("mlqa", Some(code)) => {
            let language = to_language(code)?;
            let rules = Normalization::Mlqa(language);
            rules.check().map_err(py_error)?;
            if !MLQA_LANGUAGES.iter().any(|supported| supported.as_str() == language.base()) {
                let supported = MLQA_LANGUAGES.map(|supported| supported.to_string()).join(", ");
                let note = "its articles are not removed";
                warn(
                    py,
                    &format!("{language} is not one of MLQA's languages ({supported}); {note}"),
                )?;
            }
            Ok(Some(rules))
        }
        _ => Err(value_error(&format!(
            "norm={norm:?}: must be \"mlqa\", \"squad\" or, of `score` and \
             `compute`, \"squad2\""
        ))),
    }
}

/// Returns the normalisation for `norm`; for `norm="mlqa"`, MLQA's normalisation for `lang`.
pub fn pair_rules(py: Python<'_>, lang: Language, norm: &str) -> PyResult<Normalization> {
    match norm {
        "mlqa" => Ok(Normalization::Mlqa(lang)),
        _ => Ok(rules(py, None, norm)?.unwrap_or(Normalization::Mlqa(lang))),
    }
}

pub fn no_language_error() -> PyErr {
    value_error("norm=\"mlqa\" needs lang, the language of context and answer, such as \"en\"")
}

pub fn to_language(code: &str) -> PyResult<Language> {
    Language::registered(code).map_err(|error| py_error(mlqa_eval::Error::UnknownLanguage(error)))
}

/// Converts a value to Python through JSON, so that numbers have the digits that the command line
/// prints.
pub fn to_python<'py>(py: Python<'py>, value: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    let text = serde_json::to_string(value).map_err(|error| value_error(&error.to_string()))?;
    parse_json(py, &text)
}

pub fn parse_json<'py>(py: Python<'py>, json: &str) -> PyResult<Bound<'py, PyAny>> {
    py.import("json")?.call_method1("loads", (json,))
}
