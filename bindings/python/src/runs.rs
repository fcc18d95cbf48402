//! Scores of language pairs, and comparison of two runs.
use std::path::PathBuf;

use mlqa_eval::{
    Cell, DatasetName, Matrix, Predictions, RunDifference, compare_runs, find_language_file,
    list_dataset_names, score,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::arguments::{
    self, no_language_error, pair_rules, parse_predictions, resampling, rules, to_language,
    to_python,
};
use crate::questions::read_questions;
use crate::values::{field, py_error, type_name, value_error};

/// Scores each pair of context and question language, like `mlqa-eval matrix`.
///
/// `data` and `predictions` are folders with files `{split}-context-{c}-question-{q}.json`, or
/// dicts `{("<context>", "<question>"): …}` with inputs of `score`. A pair of languages without
/// predictions has no cell. The result equals the `matrix.json` of the command.
#[pyfunction]
#[pyo3(signature = (
    data, predictions, *, norm="mlqa", split="test", title="Generalised cross-lingual transfer"
))]
pub fn matrix<'py>(
    py: Python<'py>,
    data: &Bound<'py, PyAny>,
    predictions: &Bound<'py, PyAny>,
    norm: &str,
    split: &str,
    title: &str,
) -> PyResult<Bound<'py, PyAny>> {
    let (data, predictions) =
        (Pairs::require(data, "data")?, Pairs::require(predictions, "predictions")?);
    let mut matrix = Matrix::new(title);
    for (name, dataset) in data.entries(split)? {
        let Some(predictions) = predictions.get(&name)? else { continue };
        let rules = pair_rules(py, name.context, norm)?;
        let dataset = read_questions(&dataset, &name.to_string(), false)?;
        let (predictions, _) = arguments::parse_predictions(&predictions)?;
        let result = py.detach(|| score(&dataset, &predictions, rules)).map_err(py_error)?;
        matrix.insert(name.context, name.question, Cell::from(&result));
    }
    match matrix.is_empty() {
        true => Err(value_error("predictions: no pair of languages is in data and predictions")),
        false => to_python(py, &matrix),
    }
}

/// Compares two runs question by question, like `mlqa-eval compare --data`.
///
/// `dataset` is a data set as for `score`, or data sets by language pair as for `matrix`.
/// `baseline` and `predictions` are predictions as for `score` or `matrix`, or a list with one
/// entry per seed. The result has a dict for each metric (`f1` and `em`) and language pair. The
/// dict contains the scores of both runs, the difference of the scores, the difference's confidence
/// interval from `low` to `high`, and p-values by randomisation, by bootstrap and with Holm's
/// correction.
#[pyfunction]
#[pyo3(signature = (
    dataset, baseline, predictions, lang=None, *, norm="mlqa", split="test", resamples=None,
    level=0.95, seed=42
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments")]
pub fn compare<'py>(
    py: Python<'py>,
    dataset: &Bound<'py, PyAny>,
    baseline: &Bound<'py, PyAny>,
    predictions: &Bound<'py, PyAny>,
    lang: Option<&str>,
    norm: &str,
    split: &str,
    resamples: Option<&Bound<'py, PyAny>>,
    level: f64,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let config = resampling(true, resamples, level, seed)?.expect("resampling is requested");
    let runs = [predictions_by_seed(baseline)?, predictions_by_seed(predictions)?];
    let mut rows = Vec::new();
    let Some(data) = Pairs::parse(dataset) else {
        let rules = rules(py, lang, norm)?.ok_or_else(no_language_error)?;
        let dataset = read_questions(dataset, "dataset", false)?;
        let runs = [read_predictions(&runs[0])?, read_predictions(&runs[1])?];
        let label = dataset.path.display().to_string();
        let differences =
            py.detach(|| compare_runs(&label, &dataset, [&runs[0], &runs[1]], rules, &config));
        return to_python(py, &differences.map_err(py_error)?);
    };
    let pairs = |run: &[Bound<'py, PyAny>]| {
        run.iter().map(|seed| Pairs::require(seed, "predictions")).collect::<PyResult<Vec<_>>>()
    };
    let runs = [pairs(&runs[0])?, pairs(&runs[1])?];
    for (name, dataset) in data.entries(split)? {
        let files_of_pair = |run: &[Pairs<'py>]| -> PyResult<Option<Vec<_>>> {
            run.iter().map(|seed| seed.get(&name)).collect()
        };
        let (Some(baseline), Some(predictions)) =
            (files_of_pair(&runs[0])?, files_of_pair(&runs[1])?)
        else {
            continue;
        };
        let rules = pair_rules(py, name.context, norm)?;
        let label = format!("context {}, question {}", name.context, name.question);
        let dataset = read_questions(&dataset, &name.to_string(), false)?;
        let runs = [read_predictions(&baseline)?, read_predictions(&predictions)?];
        let differences =
            py.detach(|| compare_runs(&label, &dataset, [&runs[0], &runs[1]], rules, &config));
        rows.extend(differences.map_err(py_error)?);
    }
    if rows.is_empty() {
        return Err(value_error("predictions: no pair of languages is in data and both runs"));
    }
    RunDifference::apply_holm(&mut rows);
    to_python(py, &rows)
}

fn read_predictions(predictions_by_seed: &[Bound<'_, PyAny>]) -> PyResult<Vec<Predictions>> {
    predictions_by_seed.iter().map(|seed| Ok(parse_predictions(seed)?.0)).collect()
}

/// Returns the predictions of a run, one entry per seed. If the argument is a list of rows, or not
/// a list, it is the only entry.
fn predictions_by_seed<'py>(run: &Bound<'py, PyAny>) -> PyResult<Vec<Bound<'py, PyAny>>> {
    let is_list = run.is_instance_of::<PyList>() || run.is_instance_of::<PyTuple>();
    let predictions_by_seed: Vec<_> = match is_list {
        true => run.try_iter()?.collect::<PyResult<_>>()?,
        false => return Ok(vec![run.clone()]),
    };
    let is_row = |first: &Bound<'py, PyAny>| {
        field(first, intern!(run.py(), "prediction_text")).is_ok_and(|text| text.is_some())
    };
    match predictions_by_seed.first() {
        None => Err(value_error("predictions: an empty list; expected one run or more")),
        Some(first) if is_row(first) => Ok(vec![run.clone()]),
        Some(_) => Ok(predictions_by_seed),
    }
}

/// Data or predictions for pairs of languages.
enum Pairs<'py> {
    Folder(PathBuf, Python<'py>),
    Loaded(Bound<'py, PyDict>),
}

impl<'py> Pairs<'py> {
    /// Returns `None` for a file, rows or a loaded file.
    fn parse(argument: &Bound<'py, PyAny>) -> Option<Self> {
        if let Ok(folder) = argument.extract::<PathBuf>() {
            return folder.is_dir().then(|| Self::Folder(folder, argument.py()));
        }
        let pairs = argument.cast::<PyDict>().ok()?;
        let (first, _) = pairs.iter().next()?;
        first.is_instance_of::<PyTuple>().then(|| Self::Loaded(pairs.clone()))
    }

    fn require(argument: &Bound<'py, PyAny>, name: &str) -> PyResult<Self> {
        Self::parse(argument).ok_or_else(|| {
            value_error(&format!(
                "{name}: expected a folder or {{(\"<context>\", \"<question>\"): …}}, got {}",
                type_name(argument)
            ))
        })
    }

    /// Returns all pairs with their data or predictions.
    fn entries(&self, split: &str) -> PyResult<Vec<(DatasetName, Bound<'py, PyAny>)>> {
        match self {
            Self::Folder(folder, py) => {
                let names = list_dataset_names(folder, split).map_err(py_error)?.into_iter();
                let entry = |name: DatasetName| {
                    let file = find_language_file(folder, &name.to_string()).into_pyobject(*py)?;
                    Ok((name, file.into_any()))
                };
                names.map(entry).collect()
            }
            Self::Loaded(pairs) => {
                let entry = |(key, value): (Bound<'py, PyAny>, _)| {
                    let invalid_key = |_| {
                        value_error(&format!(
                            "data: {key}: expected (\"<context>\", \"<question>\")"
                        ))
                    };
                    let (context, question): (String, String) =
                        key.extract().map_err(invalid_key)?;
                    let (context, question) = (to_language(&context)?, to_language(&question)?);
                    Ok((DatasetName { split: split.into(), context, question }, value))
                };
                pairs.iter().map(entry).collect()
            }
        }
    }

    fn get(&self, name: &DatasetName) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Self::Folder(folder, py) => {
                let file = find_language_file(folder, &name.to_string());
                let file = file.exists().then(|| file.into_pyobject(*py)).transpose()?;
                Ok(file.map(Bound::into_any))
            }
            Self::Loaded(pairs) => {
                pairs.get_item((name.context.to_string(), name.question.to_string()))
            }
        }
    }
}
