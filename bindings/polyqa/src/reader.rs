//! The class `Reader`.
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use polyqa::{
    Answers, CollectionSearch, DocumentIndex, Documents, PassageSearch, Query, Retrieval, Step,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use torch_ext::{DeviceChoice, resolve_device};

use crate::arguments::{self, py_error, to_count, value_error};
use crate::collection::Collection;
use crate::package_folder;
use crate::signals::{SignalChecker, StopError};

/// Number of questions with contexts that are answered together, between two checks for signals.
const QUESTIONS_PER_BATCH: usize = 256;

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
    /// best 50 passages. With a `Collection` in place of documents, a list of questions, which are
    /// texts or `{"id": …, "question": …}`, returns a list of dicts, too. The dicts have the format of `polyqa answer --json`: for each answer `a`
    /// in `result["answers"]`, `a["text"]` equals `text[a["start"]:a["end"]]`, where `text` is the
    /// document's text.
    #[pyo3(signature = (question, documents=None))]
    fn answer<'py>(
        &self,
        py: Python<'py>,
        question: &Bound<'py, PyAny>,
        documents: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let is_text = question.is_instance_of::<PyString>();
        let collection = documents.and_then(|documents| documents.cast::<Collection>().ok());
        let json = match (is_text, documents, collection) {
            (_, _, Some(collection)) => {
                let collection = &collection.get().inner;
                let questions = arguments::to_queries(question)?;
                let answers = self.with_reader(py, |reader, signals| {
                    let snapshot = collection.snapshot()?;
                    let search = CollectionSearch::new(&snapshot, None);
                    answer_all(reader, &questions, &search, signals)
                })?;
                match is_text {
                    true => serde_json::to_string(&answers[0]),
                    false => serde_json::to_string(&answers),
                }
            }
            (true, Some(documents), None) => {
                let question = arguments::to_question(question, "question")?;
                let documents: Documents = arguments::to_documents(documents)?.into();
                let answers = self.with_reader(py, |reader, signals| {
                    let mut on_document = |_| signals.check();
                    let index = DocumentIndex::over_with_callback(&documents, &mut on_document)?;
                    answer_all(reader, &[question.as_str().into()], &index, signals)
                })?;
                serde_json::to_string(&answers[0])
            }
            (true, None, None) => {
                return Err(value_error("a question of type str needs documents"));
            }
            (false, Some(_), None) => {
                return Err(value_error(
                    "documents are only supported with a single question of type str, or as a Collection",
                ));
            }
            (false, None, None) => {
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
    fn with_reader<T: Send>(
        &self,
        py: Python<'_>,
        operation: impl FnOnce(&polyqa::Reader, &mut SignalChecker) -> Result<T, StopError> + Send,
    ) -> PyResult<T> {
        let locked_operation = || {
            let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner);
            operation(&reader, &mut SignalChecker::new())
        };
        py.detach(locked_operation).map_err(|StopError(error)| error)
    }
}

/// Answers questions, and checks for signals between batches.
fn answer_all(
    reader: &polyqa::Reader,
    questions: &[Query],
    search: &dyn PassageSearch,
    signals: &mut SignalChecker,
) -> Result<Vec<Answers>, StopError> {
    let mut answers = Vec::with_capacity(questions.len());
    reader.answer_all(questions, &Retrieval::by_words(search), &mut |step| {
        if let Step::Answers(batch) = step {
            answers.extend(batch);
        }
        signals.check()
    })?;
    Ok(answers)
}
