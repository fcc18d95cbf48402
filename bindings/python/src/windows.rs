//! Windows of token ids, and the texts of their answers.
use std::path::PathBuf;

use mlqa_eval::{
    Compatible, Dataset, Purpose, Question, Separator, UnanswerableWindow, Window, WindowConfig,
    WindowCutter,
};
use ndarray::{Array1, Array2};
use numpy::{AllowTypeChange, IntoPyArray, PyArray1, PyArray2, PyArrayLike1, PyArrayMethods};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;
use rayon::prelude::*;

use crate::arguments;
use crate::questions::read_questions;
use crate::values::{py_error, value_error};

/// Model inputs, one row per window. Rows are padded at the end to the length of the longest row.
/// If `windows` was called with `compatible="run_qa"`, rows are padded to `max_length`, and
/// `decode` selects answers like `run_qa.py`.
#[pyclass(frozen, module = "mlqa_eval")]
pub struct Windows {
    pub questions: Vec<Question>,
    pub windows: Vec<Window>,
    pub compatible: Option<Compatible>,
    /// Token ids, int64 `[windows, length]`.
    #[pyo3(get)]
    input_ids: Py<PyArray2<i64>>,
    /// Attention mask, int64 `[windows, length]`: 1 for a token, 0 for padding.
    #[pyo3(get)]
    attention_mask: Py<PyArray2<i64>>,
    /// Segment ids, int64 `[windows, length]`: 0 and 1 if segments are distinguished, else 0.
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

    /// Supports `pickle` and `copy`. The state contains questions and windows as JSON, and the
    /// arrays.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, State<'py>)> {
        let (py, windows_data) = (slf.py(), slf.get());
        let questions = windows_data.questions.clone();
        let questions = Dataset { path: SAVED_NAME.into(), version: None, questions };
        let windows = serde_json::to_vec(&windows_data.windows);
        let clone_positions =
            |positions: &Positions| positions.as_ref().map(|array| array.clone_ref(py));
        let state = (
            PyBytes::new(py, &questions.to_json(SAVED_NAME).map_err(py_error)?),
            PyBytes::new(py, &windows.map_err(|error| PyValueError::new_err(error.to_string()))?),
            windows_data.compatible.is_some(),
            windows_data.input_ids.clone_ref(py),
            windows_data.attention_mask.clone_ref(py),
            windows_data.token_type_ids.clone_ref(py),
            windows_data.question.clone_ref(py),
            clone_positions(&windows_data.start_positions),
            clone_positions(&windows_data.end_positions),
        );
        Ok((slf.get_type().getattr("_restore")?, state))
    }

    /// Restores the result of `__reduce__`.
    #[staticmethod]
    #[expect(clippy::too_many_arguments, reason = "the stored fields")]
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
        let invalid_state = |error: &dyn std::fmt::Display| {
            PyValueError::new_err(format!("{SAVED_NAME}: damaged: {error}"))
        };
        let text = str::from_utf8(questions).map_err(|error| invalid_state(&error))?;
        let windows = serde_json::from_slice(windows).map_err(|error| invalid_state(&error))?;
        Ok(Self {
            questions: Dataset::parse(text, SAVED_NAME).map_err(py_error)?.questions,
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

    /// Returns the questions' ids, in the order of the data set.
    #[getter]
    fn ids(&self) -> Vec<&str> {
        self.questions.iter().map(|question| question.id.as_str()).collect()
    }

    /// Returns parts of contexts: for each question index, the code points of its context from
    /// `answer_start` up to `answer_end`, as in `n_best_arrays`. All three arguments are integer
    /// arrays of the same length.
    fn texts<'py>(
        &self,
        question: IntArray<'py>,
        answer_start: IntArray<'py>,
        answer_end: IntArray<'py>,
    ) -> PyResult<Vec<&str>> {
        let [question, start, end] =
            [&question, &answer_start, &answer_end].map(|array| array.as_array());
        if question.len() != start.len() || start.len() != end.len() {
            return Err(value_error("question, answer_start and answer_end differ in length"));
        }
        let text = |((&question, &start), &end): ((&i64, &i64), &i64)| {
            let context = &*self.questions.get(usize::try_from(question).ok()?)?.context;
            let count = usize::try_from(end.checked_sub(start)?).ok()?;
            let after_start = context.get(byte_offset(context, usize::try_from(start).ok()?)?..)?;
            after_start.get(..byte_offset(after_start, count)?)
        };
        let spans = question.iter().zip(&start).zip(&end).enumerate();
        let texts = spans.map(|(k, span)| {
            text(span).ok_or_else(|| {
                let ((question, start), end) = span;
                value_error(&format!(
                    "texts: {k}: question {question} has no text {start} to {end}"
                ))
            })
        });
        texts.collect()
    }
}

type IntArray<'py> = PyArrayLike1<'py, i64, AllowTypeChange>;

/// Returns the byte offset of a code point, or of the text's end.
fn byte_offset(text: &str, code_point: usize) -> Option<usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(code_point)
}

/// Name of pickled windows in error messages.
const SAVED_NAME: &str = "saved windows";

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

/// Splits questions and contexts into windows for a model.
///
/// `tokenizer` is a Hugging Face tokenizer.json, or a folder that contains one. `doc_stride` is the
/// number of context tokens that neighbouring windows share, as in `run_qa`. With
/// `compatible="run_qa"`, the function cuts windows like transformers' `run_qa.py`, and `decode`
/// also selects answers like `run_qa.py`. The equivalent command-line option of `mlqa-eval windows`
/// and `mlqa-eval decode` is `--compatible run_qa`.
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
        other => return Err(option_error("separator", other, SEPARATORS)),
    };
    let unanswerable_window = match unanswerable_window {
        "cls" => UnanswerableWindow::Cls,
        "drop" => UnanswerableWindow::Drop,
        other => return Err(option_error("unanswerable_window", other, "\"cls\" or \"drop\"")),
    };
    let compatible = match compatible {
        None => None,
        Some("run_qa") if train => {
            let allowed = "None with train=True: run_qa's training windows are not supported";
            return Err(option_error("compatible", "run_qa", allowed));
        }
        Some("run_qa") => Some(Compatible::RunQa),
        Some(other) => return Err(option_error("compatible", other, "None or \"run_qa\"")),
    };
    let lengths =
        WindowConfig { max_length, doc_stride, max_question_length, ..Default::default() };
    let config =
        WindowConfig { separator, segment_ids, unanswerable_window, compatible, ..lengths };
    let purpose = if train { Purpose::Train } else { Purpose::Eval };
    let questions = read_questions(dataset, "dataset", true)?.questions;
    let result = py.detach(|| -> Result<_, mlqa_eval::Error> {
        let cutter = WindowCutter::with_cache(crate::tokenizer::get_or_load(&tokenizer)?, &config)?;
        let windows = cutter.windows(&questions, purpose)?;
        // run_qa pads every row to the full length, and its decoding includes padding.
        let max_row_length = windows.iter().map(|window| window.input_ids.len()).max().unwrap_or(0);
        let length = if compatible.is_some() { max_length } else { max_row_length };
        let pad = cutter.pad_id();
        let ids = pad_rows(&windows, length, |window, row| {
            row.fill(pad.into());
            row.iter_mut().zip(&window.input_ids).for_each(|(cell, &id)| *cell = id.into());
        });
        let mask = pad_rows(&windows, length, |window, row| {
            row.iter_mut().zip(&window.input_ids).for_each(|(cell, _)| *cell = 1);
        });
        // Zeros are not written, because pages that are never written use no physical memory.
        let type_ids = pad_rows(&windows, length, |window, row| {
            let nonzero = row.iter_mut().zip(&window.token_type_ids).filter(|(_, id)| **id != 0);
            nonzero.for_each(|(cell, &id)| *cell = id.into());
        });
        Ok((windows, ids, mask, type_ids))
    });
    let (windows, ids, mask, type_ids) = result.map_err(py_error)?;
    let positions = |position: fn(&Window) -> Option<usize>| {
        let array: Option<Array1<i64>> =
            windows.iter().map(|window| position(window).map(to_i64)).collect();
        array.filter(|_| train).map(|array| array.into_pyarray(py).unbind())
    };
    let question: Array1<i64> = windows.iter().map(|window| to_i64(window.question)).collect();
    Ok(Windows {
        input_ids: ids.into_pyarray(py).unbind(),
        attention_mask: mask.into_pyarray(py).unbind(),
        token_type_ids: type_ids.into_pyarray(py).unbind(),
        question: question.into_pyarray(py).unbind(),
        start_positions: positions(|window| window.start_position),
        end_positions: positions(|window| window.end_position),
        questions,
        windows,
        compatible,
    })
}

const SEPARATORS: &str = "\"template\", \"double\" or \"single\"";

fn option_error(name: &str, value: &str, allowed: &str) -> PyErr {
    PyValueError::new_err(format!("{name}={value:?}: must be {allowed}"))
}

/// Creates a row of `length` values for each window: zeros, except where `fill` writes.
fn pad_rows(
    windows: &[Window],
    length: usize,
    fill: impl Fn(&Window, &mut [i64]) + Sync,
) -> Array2<i64> {
    let mut rows = Array2::zeros((windows.len(), length));
    if let Some(values) = rows.as_slice_mut().filter(|values| !values.is_empty()) {
        values.par_chunks_mut(length).zip(windows).for_each(|(row, window)| fill(window, row));
    }
    rows
}

/// Converts an index or a count of tokens or questions, which are far below 2⁶³.
pub fn to_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
