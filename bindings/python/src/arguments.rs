//! Arguments that the functions share.
use std::collections::BTreeMap;
use std::ffi::CString;
use std::path::PathBuf;

use mlqa_eval::{Dataset, EvalError, Language, MLQA_LANGUAGES, Normalization, Predictions, squad};
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::py_error;

/// A SQuAD-style file, or what `json.load` makes of one.
#[derive(FromPyObject)]
pub enum DatasetArgument<'py> {
    Loaded(Bound<'py, PyDict>),
    File(PathBuf),
}

impl DatasetArgument<'_> {
    /// Reads the questions; what the file has that is odd becomes a warning.
    pub fn read(self, py: Python<'_>) -> PyResult<Dataset> {
        let dataset = match self {
            Self::File(path) => py.detach(|| Dataset::read(path)),
            Self::Loaded(data) => {
                let text: String = py.import("json")?.call_method1("dumps", (data,))?.extract()?;
                py.detach(|| parse(&text))
            }
        };
        whole_file::take_notes().iter().try_for_each(|note| warn(py, note))?;
        dataset.map_err(py_error)
    }
}

fn parse(text: &str) -> Result<Dataset, EvalError> {
    let name = "dataset";
    Dataset::from_squad(squad::File::parse(text, name)?, name)
}

/// A file of predictions, or answers by question id.
#[derive(FromPyObject)]
pub enum PredictionsArgument {
    Loaded(BTreeMap<String, String>),
    File(PathBuf),
}

impl PredictionsArgument {
    pub fn read(self, py: Python<'_>) -> PyResult<Predictions> {
        match self {
            Self::Loaded(answers) => Ok(Predictions(answers)),
            Self::File(path) => py.detach(|| Predictions::read(path)).map_err(py_error),
        }
    }
}

/// The rules for `norm` and the language `lang`; a language that is not MLQA's gets a warning,
/// since it may be a typing error.
pub fn rules(py: Python<'_>, lang: Option<&str>, norm: &str) -> PyResult<Normalization> {
    match (norm, lang) {
        ("squad", _) => Ok(Normalization::SquadEn),
        ("mlqa", None) => Err(PyValueError::new_err(
            "norm=\"mlqa\" needs lang, the language of context and answer, such as \"en\"",
        )),
        ("mlqa", Some(code)) => {
            let language: Language =
                code.parse().map_err(|error| py_error(EvalError::Language(error)))?;
            if !MLQA_LANGUAGES.iter().any(|known| known.as_str() == language.base()) {
                let known = MLQA_LANGUAGES.map(|known| known.to_string()).join(", ");
                let note = "its articles are not removed";
                warn(py, &format!("{language} is none of MLQA's languages ({known}); {note}"))?;
            }
            Ok(Normalization::Mlqa(language))
        }
        _ => Err(PyValueError::new_err(format!("norm={norm:?}: must be \"mlqa\" or \"squad\""))),
    }
}

fn warn(py: Python<'_>, message: &str) -> PyResult<()> {
    let message = CString::new(whole_file::one_line(message).as_ref())?;
    PyErr::warn(py, &py.get_type::<PyUserWarning>(), &message, 1)
}
