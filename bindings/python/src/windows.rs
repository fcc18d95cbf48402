//! Windows of token ids, and answers from their logits.
use std::path::PathBuf;

use mlqa_eval::{
    Candidate, Compatible, Dataset, DecodeConfig, NBest, Purpose, Question, Separator,
    UnanswerableWindow, Window, WindowConfig, WindowCutter, load_tokenizer,
};
use ndarray::{Array1, Array2, ArrayView1};
use numpy::{AllowTypeChange, IntoPyArray, PyArray1, PyArray2, PyArrayLike2, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict};

use crate::arguments;
use crate::py_error;

/// Model inputs: one row for each window, padded at the end to the longest; to `max_length` with
/// `compatible`, which decoding then follows, too.
#[pyclass(frozen, module = "mlqa_eval")]
pub struct Windows {
    questions: Vec<Question>,
    windows: Vec<Window>,
    compatible: Option<Compatible>,
    /// Token ids, int64 `[windows, length]`.
    #[pyo3(get)]
    input_ids: Py<PyArray2<i64>>,
    /// 1 for a token, 0 for padding, int64 `[windows, length]`.
    #[pyo3(get)]
    attention_mask: Py<PyArray2<i64>>,
    /// 0 or 1 where segments are told apart, else 0, int64 `[windows, length]`.
    #[pyo3(get)]
    token_type_ids: Py<PyArray2<i64>>,
    /// Index of each window's question in the data set, int64 `[windows]`.
    #[pyo3(get)]
    question: Py<PyArray1<i64>>,
    /// Index of the answer's first token, int64 `[windows]`; None unless train=True.
    #[pyo3(get)]
    start_positions: Option<Py<PyArray1<i64>>>,
    /// Index of the answer's last token, int64 `[windows]`; None unless train=True.
    #[pyo3(get)]
    end_positions: Option<Py<PyArray1<i64>>>,
}

#[pymethods]
impl Windows {
    fn __len__(&self) -> usize {
        self.windows.len()
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let (rows, length) = (self.windows.len(), self.input_ids.bind(py).dims()[1]);
        format!("<Windows: {} questions, {rows} rows of {length} tokens>", self.questions.len())
    }

    /// For `pickle` and `copy`: questions and windows as JSON, and the arrays.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, State<'py>)> {
        let (py, own) = (slf.py(), slf.get());
        let questions = own.questions.clone();
        let questions = Dataset { path: SAVED.into(), version: None, questions };
        let windows = serde_json::to_vec(&own.windows);
        let positions = |of: &Positions| of.as_ref().map(|all| all.clone_ref(py));
        let state = (
            PyBytes::new(py, &questions.to_json(SAVED).map_err(py_error)?),
            PyBytes::new(py, &windows.map_err(|error| PyValueError::new_err(error.to_string()))?),
            own.compatible.is_some(),
            own.input_ids.clone_ref(py),
            own.attention_mask.clone_ref(py),
            own.token_type_ids.clone_ref(py),
            own.question.clone_ref(py),
            positions(&own.start_positions),
            positions(&own.end_positions),
        );
        Ok((slf.get_type().getattr("_restore")?, state))
    }

    /// What `__reduce__` took apart.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "what is kept")]
    fn _restore(
        questions: &[u8],
        windows: &[u8],
        compatible: bool,
        input_ids: Py<PyArray2<i64>>,
        attention_mask: Py<PyArray2<i64>>,
        token_type_ids: Py<PyArray2<i64>>,
        question: Py<PyArray1<i64>>,
        start_positions: Positions,
        end_positions: Positions,
    ) -> PyResult<Self> {
        let damaged = |error: &dyn std::fmt::Display| {
            PyValueError::new_err(format!("{SAVED}: damaged: {error}"))
        };
        let text = str::from_utf8(questions).map_err(|error| damaged(&error))?;
        let windows = serde_json::from_slice(windows).map_err(|error| damaged(&error))?;
        Ok(Self {
            questions: Dataset::parse(text, SAVED).map_err(py_error)?.questions,
            windows,
            compatible: compatible.then_some(Compatible::RunQa),
            input_ids,
            attention_mask,
            token_type_ids,
            question,
            start_positions,
            end_positions,
        })
    }

    /// The questions' ids, in the order of the data set.
    #[getter]
    fn ids(&self) -> Vec<&str> {
        self.questions.iter().map(|question| question.id.as_str()).collect()
    }
}

/// What messages call the questions of saved windows.
const SAVED: &str = "saved windows";

type Positions = Option<Py<PyArray1<i64>>>;
type State<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    bool,
    Py<PyArray2<i64>>,
    Py<PyArray2<i64>>,
    Py<PyArray2<i64>>,
    Py<PyArray1<i64>>,
    Positions,
    Positions,
);

/// Cuts questions and contexts into windows for a model.
///
/// `tokenizer` is a Hugging Face tokenizer.json, or a folder that holds one. `doc_stride` is the
/// number of context tokens that neighbouring windows share, as in `run_qa`. With
/// `compatible="run_qa"` windows and their decoding follow transformers' `run_qa.py` step by step,
/// as `--compatible run_qa` of the command line.
#[pyfunction]
#[pyo3(signature = (
    dataset, tokenizer, *, max_length=384, doc_stride=128, max_question_length=64,
    separator="template", segment_ids=false, train=false, unanswerable_window="cls",
    compatible=None
))]
#[expect(clippy::too_many_arguments, reason = "keyword arguments")]
pub fn windows<'py>(
    py: Python<'py>,
    dataset: &Bound<'py, PyAny>,
    tokenizer: PathBuf,
    #[pyo3(from_py_with = arguments::max_length)] max_length: usize,
    #[pyo3(from_py_with = arguments::doc_stride)] doc_stride: usize,
    #[pyo3(from_py_with = arguments::max_question_length)] max_question_length: usize,
    separator: &str,
    segment_ids: bool,
    train: bool,
    unanswerable_window: &str,
    compatible: Option<&str>,
) -> PyResult<Windows> {
    let separator = match separator {
        "template" => Separator::Template,
        "double" => Separator::Double,
        "single" => Separator::Single,
        other => return Err(not_one_of("separator", other, SEPARATORS)),
    };
    let unanswerable_window = match unanswerable_window {
        "cls" => UnanswerableWindow::Cls,
        "drop" => UnanswerableWindow::Drop,
        other => return Err(not_one_of("unanswerable_window", other, "\"cls\" or \"drop\"")),
    };
    let compatible = match compatible {
        None => None,
        Some("run_qa") if train => {
            let rule = "None with train=True: training windows are our own";
            return Err(not_one_of("compatible", "run_qa", rule));
        }
        Some("run_qa") => Some(Compatible::RunQa),
        Some(other) => return Err(not_one_of("compatible", other, "None or \"run_qa\"")),
    };
    let lengths =
        WindowConfig { max_length, doc_stride, max_question_length, ..Default::default() };
    let config =
        WindowConfig { separator, segment_ids, unanswerable_window, compatible, ..lengths };
    let purpose = if train { Purpose::Train } else { Purpose::Eval };
    let questions = arguments::dataset(dataset)?.questions;
    let (windows, pad) = py
        .detach(|| {
            let tokenizer = load_tokenizer(tokenizer)?;
            let cutter = WindowCutter::new(&tokenizer, &config)?;
            Ok((cutter.windows(&questions, purpose)?, cutter.pad_id()))
        })
        .map_err(py_error)?;
    // run_qa pads every row to the full length, and its decoding looks at padding, too.
    let longest = windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
    let length = if compatible.is_some() { max_length } else { longest };
    let rows = |value: fn(&Window, usize) -> i64, padding: u32| {
        py.detach(|| padded(&windows, length, value, padding)).into_pyarray(py).unbind()
    };
    let positions = |of: fn(&Window) -> Option<usize>| {
        let all: Option<Array1<i64>> = windows.iter().map(|one| of(one).map(index)).collect();
        all.filter(|_| train).map(|all| all.into_pyarray(py).unbind())
    };
    let question: Array1<i64> = windows.iter().map(|window| index(window.question)).collect();
    Ok(Windows {
        input_ids: rows(|window, k| window.input_ids.get(k).map_or(0, |&id| id.into()), pad),
        attention_mask: rows(|_, _| 1, 0),
        token_type_ids: rows(|one, k| one.token_type_ids.get(k).map_or(0, |&id| id.into()), 0),
        question: question.into_pyarray(py).unbind(),
        start_positions: positions(|window| window.start_position),
        end_positions: positions(|window| window.end_position),
        questions,
        windows,
        compatible,
    })
}

const SEPARATORS: &str = "\"template\", \"double\" or \"single\"";

fn not_one_of(name: &str, value: &str, rule: &str) -> PyErr {
    PyValueError::new_err(format!("{name}={value:?}: must be {rule}"))
}

/// A matrix of `length` columns with `value` of each window's tokens, and `padding` after them.
fn padded(
    windows: &[Window],
    length: usize,
    value: fn(&Window, usize) -> i64,
    padding: u32,
) -> Array2<i64> {
    Array2::from_shape_fn((windows.len(), length), |(row, column)| {
        let window = windows.get(row).filter(|window| column < window.input_ids.len());
        window.map_or(padding.into(), |window| value(window, column))
    })
}

/// Numbers of tokens and questions are far below 2⁶³.
fn index(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The best answer to each question, `{id: answer}`, as `score` takes it.
///
/// Logits are `[windows, length]`, float32 or what numpy turns into it; rows may be longer than
/// `input_ids`. Nothing else may write to them meanwhile.
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
    let lengths = DecodeConfig { n_best, max_answer_length, ..DecodeConfig::default() };
    let config = DecodeConfig { allow_null, compatible: windows.compatible, ..lengths };
    let answers = PyDict::new(py);
    for one in &best(py, windows, &start_logits, &end_logits, &config)? {
        answers.set_item(&one.id, one.answer())?;
    }
    Ok(answers)
}

/// The best answers to each question, with the keys that the crate's `write_n_best` has.
///
/// `{id: {"candidates": [...], "null_score": ..., "null": ...}}`; arguments as for `decode`.
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
    let lengths = DecodeConfig { n_best, max_answer_length, ..DecodeConfig::default() };
    let config = DecodeConfig { allow_null, compatible: windows.compatible, ..lengths };
    let lists = PyDict::new(py);
    for one in &best(py, windows, &start_logits, &end_logits, &config)? {
        let entry = PyDict::new(py);
        let candidates = one.candidates.iter().map(|candidate| entry_of(py, candidate));
        entry.set_item("candidates", candidates.collect::<PyResult<Vec<_>>>()?)?;
        entry.set_item("null_score", one.null_score)?;
        entry.set_item("null", one.null)?;
        lists.set_item(&one.id, entry)?;
    }
    Ok(lists)
}

type Logits<'py> = PyArrayLike2<'py, f32, AllowTypeChange>;

/// Decodes without the interpreter's lock.
fn best(
    py: Python<'_>,
    windows: &Windows,
    start_logits: &Logits<'_>,
    end_logits: &Logits<'_>,
    config: &DecodeConfig,
) -> PyResult<Vec<NBest>> {
    let [start, end] = [start_logits, end_logits].map(|logits| logits.as_array());
    let Windows { questions, windows, .. } = windows;
    py.detach(|| {
        let start: Vec<ArrayView1<'_, f32>> = start.rows().into_iter().collect();
        let end: Vec<ArrayView1<'_, f32>> = end.rows().into_iter().collect();
        mlqa_eval::decode(questions, windows, &start, &end, config)
    })
    .map_err(py_error)
}

fn entry_of<'py>(py: Python<'py>, candidate: &Candidate) -> PyResult<Bound<'py, PyDict>> {
    let entry = PyDict::new(py);
    entry.set_item("text", &candidate.text)?;
    entry.set_item("score", candidate.score)?;
    entry.set_item("probability", candidate.probability)?;
    entry.set_item("start_logit", candidate.start_logit)?;
    entry.set_item("end_logit", candidate.end_logit)?;
    entry.set_item("window", candidate.window)?;
    entry.set_item("start", candidate.start)?;
    entry.set_item("end", candidate.end)?;
    entry.set_item("answer_start", candidate.answer_start)?;
    Ok(entry)
}
