//! The class `Reader`.
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use polyqa::{Answers, DEFAULT_CANDIDATES, Documents, FirstPass};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use torch_ext::{DeviceChoice, resolve_device};

use crate::arguments::{self, py_error, to_count, value_error};
use crate::package_folder;

/// Number of questions with contexts that are answered together, between two checks for signals.
const QUESTIONS_PER_BATCH: usize = 256;

/// Interval between checks for signals. Each check waits for the interpreter's lock.
const SIGNAL_INTERVAL: Duration = Duration::from_millis(100);

/// An extractive reader: a model with a span head that answers questions over documents.
///
/// `model` is a Hugging Face folder, or a repository of the hub as `owner/name` or
/// `owner/name@revision`, which is downloaded if it is not cached. Without a model, the environment
/// variable `POLYQA_MODEL` or the reader that comes with the package is used. The keyword arguments
/// are options of `polyqa answer` and have the same defaults. Pickling a reader stores its
/// arguments; unpickling loads the model again.
#[pyclass(module = "polyqa", frozen)]
pub struct Reader {
    /// Allows one call at a time, because tensors are not shared between threads.
    reader: Mutex<polyqa::Reader>,
    model: String,
    /// The argument `model`.
    model_argument: Option<String>,
    /// Name of the selected precision.
    precision: &'static str,
    /// The keyword arguments, including defaults.
    options: Py<PyDict>,
}

#[pymethods]
impl Reader {
    #[new]
    #[pyo3(signature = (
        model=None, *, device="auto", precision=None, batch_size=None, max_length=None, doc_stride=None,
        max_answer_length=30, answers=3, null_threshold=None
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are Python's keyword arguments")]
    fn new(
        py: Python<'_>,
        model: Option<PathBuf>,
        device: &str,
        precision: Option<&str>,
        batch_size: Option<i64>,
        max_length: Option<i64>,
        doc_stride: Option<i64>,
        max_answer_length: i64,
        answers: i64,
        null_threshold: Option<f64>,
    ) -> PyResult<Self> {
        let options = PyDict::new(py);
        options.set_item("device", device)?;
        options.set_item("precision", precision)?;
        options.set_item("batch_size", batch_size)?;
        options.set_item("max_length", max_length)?;
        options.set_item("doc_stride", doc_stride)?;
        options.set_item("max_answer_length", max_answer_length)?;
        options.set_item("answers", answers)?;
        options.set_item("null_threshold", null_threshold)?;

        let max_answers = to_count("answers", answers, 1)?;
        let batch_size = batch_size.map(|value| to_count("batch_size", value, 1)).transpose()?;
        let max_answer_length = to_count("max_answer_length", max_answer_length, 1)?;
        let max_length = max_length.map(|value| to_count("max_length", value, 1)).transpose()?;
        let doc_stride = doc_stride.map(|value| to_count("doc_stride", value, 0)).transpose()?;
        let to_text = |model: PathBuf| {
            model.into_os_string().into_string().map_err(|model| {
                value_error(&format!("model {}: must be UTF-8", model.to_string_lossy()))
            })
        };
        let model_argument = model.map(to_text).transpose()?;
        let model = match &model_argument {
            Some(model) => model.clone(),
            None => {
                let package = package_folder(py)?;
                let model = polyqa::default_model(package.as_deref());
                model.map_err(|error| py_error(&error))?
            }
        };
        let device_choice: DeviceChoice = device.parse().map_err(|error| py_error(&error))?;
        let reader = py.detach(|| {
            let device = resolve_device(device_choice).map_err(|error| py_error(&error))?;
            let precision = polyqa::select_precision(precision, device);
            let precision = precision.map_err(|error| value_error(&error.to_string()))?;
            let load = || -> polyqa::Result<polyqa::Reader> {
                let reader = polyqa::Reader::open(&model, device, precision)?;
                let mut windows = reader.windows().clone();
                windows.max_length = max_length.unwrap_or(windows.max_length);
                windows.doc_stride = doc_stride.unwrap_or(windows.doc_stride);
                let windows = polyqa::with_long_questions(windows);
                let mut decoding = reader.decoding().clone();
                decoding.max_answer_length = max_answer_length;
                let reader = reader.with_windows(windows)?.with_decoding(decoding)?;
                let reader = match batch_size {
                    Some(batch_size) => reader.with_batch_size(batch_size),
                    None => reader,
                };
                Ok(reader.with_max_answers(max_answers).with_null_threshold(null_threshold))
            };
            load().map_err(|error| py_error(&error))
        })?;
        let precision = reader.precision().name();
        let reader = Mutex::new(reader);
        Ok(Self { reader, model, model_argument, precision, options: options.unbind() })
    }

    /// Returns the best answers to a question over documents as a dict. For a list of questions
    /// with contexts, `{"question": …, "context": …}`, returns a list of dicts in the order of the
    /// questions.
    ///
    /// `documents` is a text, or a list of texts or of `{"id": …, "text": …}`. BM25 selects the
    /// best 50 passages. The dicts have the format of `polyqa answer --json`: for each answer `a`
    /// in `result["answers"]`, `a["text"]` equals `text[a["start"]:a["end"]]`, where `text` is the
    /// document's text.
    #[pyo3(signature = (question, documents=None))]
    fn answer<'py>(
        &self,
        py: Python<'py>,
        question: &Bound<'py, PyAny>,
        documents: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let json = match (question.is_instance_of::<PyString>(), documents) {
            (true, Some(documents)) => {
                let questions = [(None, arguments::to_question(question, "question")?)];
                let documents: Documents = arguments::to_documents(documents)?.into();
                let mut answers = Vec::new();
                self.with_reader(py, |reader, signals| {
                    let pass = FirstPass::over_with_callback(&documents, &mut || signals.check())?;
                    let mut on_answers = |batch: Vec<Answers>, _| {
                        answers.extend(batch);
                        signals.check()
                    };
                    let first_pass = Some((&pass, DEFAULT_CANDIDATES));
                    reader.answer_all(&questions, &documents, first_pass, &mut on_answers)
                })?;
                serde_json::to_string(&answers.pop())
            }
            (true, None) => return Err(value_error("a question of type str needs documents")),
            (false, Some(_)) => {
                return Err(value_error(
                    "documents are only supported with a single question of type str",
                ));
            }
            (false, None) => {
                let (questions, has_id) = arguments::to_questions(question)?;
                let mut answers = Vec::with_capacity(questions.len());
                self.with_reader(py, |reader, signals| {
                    questions.chunks(QUESTIONS_PER_BATCH).try_for_each(|batch| {
                        let results = reader.answer_in_contexts(batch)?;
                        answers.extend(results.into_iter().map(|(answers, _)| answers));
                        signals.check()
                    })
                })?;
                for (result, has_id) in answers.iter_mut().zip(has_id) {
                    result.id = result.id.take().filter(|_| has_id);
                }
                serde_json::to_string(&answers)
            }
        };
        let text = json.map_err(|error| py_error(&error))?;
        // The values are converted through JSON, so that they equal the values in the output of
        // `polyqa answer --json`.
        py.import("json")?.call_method1("loads", (text,))
    }

    /// Returns the constructor arguments for pickle.
    fn __getnewargs_ex__(&self, py: Python<'_>) -> ((Option<String>,), Py<PyDict>) {
        ((self.model_argument.clone(),), self.options.clone_ref(py))
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let option = |name| self.options.bind(py).as_any().get_item(name);
        Ok(format!("<Reader: {}, {}, {}>", self.model, option("device")?, self.precision))
    }
}

impl Reader {
    /// Calls `operation` with the reader, and releases the interpreter's lock during the call.
    fn with_reader(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&polyqa::Reader, &mut SignalChecker) -> Result<(), StopError> + Send,
    ) -> PyResult<()> {
        let locked_operation = || {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            operation(&reader, &mut SignalChecker { last_check: Instant::now() })
        };
        py.detach(locked_operation).map_err(|StopError(error)| error)
    }
}

/// Checks for signals, so that Ctrl-C can stop long computations.
struct SignalChecker {
    last_check: Instant,
}

impl SignalChecker {
    fn check(&mut self) -> Result<(), StopError> {
        if self.last_check.elapsed() < SIGNAL_INTERVAL {
            return Ok(());
        }
        self.last_check = Instant::now();
        Python::attach(|py| py.check_signals()).map_err(StopError)
    }
}

/// The exception that stops a computation.
struct StopError(PyErr);

impl From<polyqa::Error> for StopError {
    fn from(error: polyqa::Error) -> Self {
        Self(py_error(&error))
    }
}
