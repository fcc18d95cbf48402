//! Decoding of answers from logits.
use mlqa_eval::{Candidate, DecodeConfig, Error, NBest};
use ndarray::{Array1, ArrayView1};
use numpy::{AllowTypeChange, Element, IntoPyArray, PyArrayLike2};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::arguments;
use crate::values::py_error;
use crate::windows::{Windows, to_i64};

/// Returns the best answer to each question as `{id: answer}`, an input of `score`.
///
/// Logits are `[windows, length]`, float32 or a type that numpy converts to float32. Rows may be
/// longer than the rows of `input_ids`. No other thread may write to the logits during the call.
#[pyfunction]
#[pyo3(signature = (
    windows, start_logits, end_logits, *, n_best=20, max_answer_length=30, allow_null=None
))]
pub fn decode<'py>(
    py: Python<'py>,
    windows: &Windows,
    start_logits: Logits<'py>,
    end_logits: Logits<'py>,
    #[pyo3(from_py_with = arguments::n_best)] n_best: usize,
    #[pyo3(from_py_with = arguments::max_answer_length)] max_answer_length: usize,
    allow_null: Option<f32>,
) -> PyResult<Bound<'py, PyDict>> {
    let config = config(windows, n_best, max_answer_length, allow_null);
    let answers_by_question = with_rows(py, &start_logits, &end_logits, |start, end| {
        mlqa_eval::decode_answers(&windows.questions, &windows.windows, start, end, &config)
    })?;
    let answers = PyDict::new(py);
    for (question, answer) in windows.questions.iter().zip(answers_by_question) {
        answers.set_item(&question.id, answer)?;
    }
    Ok(answers)
}

/// Returns the best answers to each question as a dict.
///
/// The dict is `{id: {"candidates": [...], "null_score": ..., "null": ...}}`. `decode` describes
/// the arguments. `n_best_arrays` returns the same data as arrays in half the time.
#[pyfunction]
#[pyo3(signature = (
    windows, start_logits, end_logits, *, n_best=20, max_answer_length=30, allow_null=None
))]
pub fn n_best<'py>(
    py: Python<'py>,
    windows: &Windows,
    start_logits: Logits<'py>,
    end_logits: Logits<'py>,
    #[pyo3(from_py_with = arguments::n_best)] n_best: usize,
    #[pyo3(from_py_with = arguments::max_answer_length)] max_answer_length: usize,
    allow_null: Option<f32>,
) -> PyResult<Bound<'py, PyDict>> {
    let config = config(windows, n_best, max_answer_length, allow_null);
    let lists = PyDict::new(py);
    for list in &best_answers(py, windows, &start_logits, &end_logits, &config)? {
        let entry = PyDict::new(py);
        let candidates = list.candidates.iter().map(|candidate| candidate_dict(py, candidate));
        let candidates = PyList::new(py, candidates.collect::<PyResult<Vec<_>>>()?)?;
        entry.set_item(intern!(py, "candidates"), candidates)?;
        entry.set_item(intern!(py, "null_score"), list.null_score)?;
        entry.set_item(intern!(py, "null"), list.null)?;
        lists.set_item(&list.id, entry)?;
    }
    Ok(lists)
}

/// Returns the best answers to each question as arrays: a dict with one array per candidate field
/// (the candidates of all questions in sequence), and a dict with one array per question field.
///
/// Candidate fields: `question`, the question's index in `windows.ids`; `window`, `start` and `end`
/// as in `n_best`; `answer_start` and `answer_end`, a range of code points in the context, which
/// `windows.texts` converts to a text (the range is empty for the placeholder answer "empty" of
/// `run_qa.py`); `score`, `probability`, `start_logit` and `end_logit`. Question fields: `first`
/// and `last`, the index of the question's first (best) candidate and the index after the
/// question's last candidate; `null_score`, NaN without windows; `null`. `decode` describes the
/// arguments.
#[pyfunction]
#[pyo3(signature = (
    windows, start_logits, end_logits, *, n_best=20, max_answer_length=30, allow_null=None
))]
pub fn n_best_arrays<'py>(
    py: Python<'py>,
    windows: &Windows,
    start_logits: Logits<'py>,
    end_logits: Logits<'py>,
    #[pyo3(from_py_with = arguments::n_best)] n_best: usize,
    #[pyo3(from_py_with = arguments::max_answer_length)] max_answer_length: usize,
    allow_null: Option<f32>,
) -> PyResult<(Bound<'py, PyDict>, Bound<'py, PyDict>)> {
    let config = config(windows, n_best, max_answer_length, allow_null);
    let n_best_lists = best_answers(py, windows, &start_logits, &end_logits, &config)?;
    let (candidates, questions) = (PyDict::new(py), PyDict::new(py));
    let indices = |value: fn(&Candidate) -> usize| {
        n_best_lists.iter().flat_map(|list| &list.candidates).map(move |c| to_i64(value(c)))
    };
    let floats = |value: fn(&Candidate) -> f32| {
        n_best_lists.iter().flat_map(|list| &list.candidates).map(value)
    };
    let question_indices = |(k, list): (usize, &NBest)| vec![to_i64(k); list.candidates.len()];
    set_array(&candidates, "question", n_best_lists.iter().enumerate().flat_map(question_indices))?;
    set_array(&candidates, "window", indices(|c| c.window))?;
    set_array(&candidates, "start", indices(|c| c.start))?;
    set_array(&candidates, "end", indices(|c| c.end))?;
    set_array(&candidates, "answer_start", indices(|c| c.answer_start))?;
    // Position 0 is outside the context and means "no answer", regardless of the candidate's text.
    let length = |c: &Candidate| if c.end == 0 { 0 } else { c.text.chars().count() };
    let spans = n_best_lists.iter().flat_map(|list| &list.candidates);
    set_array(&candidates, "answer_end", spans.map(|c| to_i64(c.answer_start + length(c))))?;
    set_array(&candidates, "score", floats(|c| c.score))?;
    let all_candidates = n_best_lists.iter().flat_map(|list| &list.candidates);
    set_array(&candidates, "probability", all_candidates.map(|c| c.probability))?;
    set_array(&candidates, "start_logit", floats(|c| c.start_logit))?;
    set_array(&candidates, "end_logit", floats(|c| c.end_logit))?;
    let ranges = || {
        n_best_lists.iter().scan(0, |end, list| {
            *end += list.candidates.len();
            Some((*end - list.candidates.len(), *end))
        })
    };
    set_array(&questions, "first", ranges().map(|(first, _)| to_i64(first)))?;
    set_array(&questions, "last", ranges().map(|(_, last)| to_i64(last)))?;
    set_array(
        &questions,
        "null_score",
        n_best_lists.iter().map(|list| list.null_score.unwrap_or(f32::NAN)),
    )?;
    set_array(&questions, "null", n_best_lists.iter().map(|list| list.null))?;
    Ok((candidates, questions))
}

fn set_array<T: Element>(
    dict: &Bound<'_, PyDict>,
    name: &str,
    values: impl Iterator<Item = T>,
) -> PyResult<()> {
    dict.set_item(name, values.collect::<Array1<T>>().into_pyarray(dict.py()))
}

type Logits<'py> = PyArrayLike2<'py, f32, AllowTypeChange>;

fn config(
    windows: &Windows,
    n_best: usize,
    max_answer_length: usize,
    allow_null: Option<f32>,
) -> DecodeConfig {
    let compatible = windows.compatible;
    DecodeConfig { n_best, max_answer_length, allow_null, compatible, ..DecodeConfig::default() }
}

fn best_answers(
    py: Python<'_>,
    windows: &Windows,
    start_logits: &Logits<'_>,
    end_logits: &Logits<'_>,
    config: &DecodeConfig,
) -> PyResult<Vec<NBest>> {
    with_rows(py, start_logits, end_logits, |start, end| {
        mlqa_eval::decode(&windows.questions, &windows.windows, start, end, config)
    })
}

type Row<'a> = ArrayView1<'a, f32>;

/// Calls `decode` with the rows of logits, and releases the interpreter's lock during the call.
fn with_rows<T: Send>(
    py: Python<'_>,
    start_logits: &Logits<'_>,
    end_logits: &Logits<'_>,
    decode: impl Fn(&[Row<'_>], &[Row<'_>]) -> Result<T, Error> + Sync,
) -> PyResult<T> {
    let [start, end] = [start_logits, end_logits].map(|logits| logits.as_array());
    py.detach(|| {
        let start: Vec<Row<'_>> = start.rows().into_iter().collect();
        let end: Vec<Row<'_>> = end.rows().into_iter().collect();
        decode(&start, &end)
    })
    .map_err(py_error)
}

fn candidate_dict<'py>(py: Python<'py>, candidate: &Candidate) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item(intern!(py, "text"), &candidate.text)?;
    entry.set_item(intern!(py, "score"), candidate.score)?;
    entry.set_item(intern!(py, "probability"), candidate.probability)?;
    entry.set_item(intern!(py, "start_logit"), candidate.start_logit)?;
    entry.set_item(intern!(py, "end_logit"), candidate.end_logit)?;
    entry.set_item(intern!(py, "window"), candidate.window)?;
    entry.set_item(intern!(py, "start"), candidate.start)?;
    entry.set_item(intern!(py, "end"), candidate.end)?;
    entry.set_item(intern!(py, "answer_start"), candidate.answer_start)?;
    Ok(entry)
}
