//! `questions.json`, the mapping from a run's prediction files to question files.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{path_as_text, read_json, write_json};
use crate::{Error, Language};

/// Name of the file, which is in the folder of the prediction files.
const FILE_NAME: &str = "questions.json";

/// The question file of a prediction file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct QuestionSource {
    /// Path of the question file (SQuAD-style JSON). Bytes that are not UTF-8 are replaced when the
    /// path is written. `qa-report` searches the run folder for the last components of this path,
    /// so replaced bytes in the path of the run folder itself do no harm.
    #[serde(serialize_with = "path_as_text")]
    pub path: PathBuf,
    /// Language of context and answer.
    pub context: Language,
    /// Language of the question.
    pub question: Language,
    /// Whether answers are scored by SQuAD's English rules, as XQuAD prescribes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub squad_rules: bool,
}

/// Maps the name of each prediction file of a folder to the question file that it answers. They are
/// stored in `questions.json`, which `mlqa-eval report` reads.
///
/// ```
/// use mlqa_eval::{Language, QuestionSource, QuestionSources};
///
/// let source = QuestionSource {
///     path: "xquad/xquad.de.json".into(),
///     context: Language::DE,
///     question: Language::DE,
///     squad_rules: true,
/// };
/// let sources = QuestionSources([("predictions.json".to_owned(), source)].into());
/// let folder = std::env::temp_dir().join("mlqa-eval-question-sources");
/// sources.write(&folder)?;
/// assert_eq!(QuestionSources::read(&folder)?, Some(sources));
/// # std::fs::remove_dir_all(&folder).unwrap();
/// # Ok::<(), mlqa_eval::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
pub struct QuestionSources(pub BTreeMap<String, QuestionSource>);

impl QuestionSources {
    /// Adds a prediction file. The path of the question file is stored as an absolute path, which is
    /// valid in any working directory.
    pub fn insert(&mut self, predictions: impl Into<String>, source: QuestionSource) {
        // If the working directory is not known, the path is stored unchanged.
        let path = std::path::absolute(&source.path).unwrap_or_else(|_| source.path.clone());
        self.0.insert(predictions.into(), QuestionSource { path, ..source });
    }

    /// Creates the mapping for a single prediction file whose questions and contexts are in one
    /// language.
    pub fn of(predictions: &str, questions: &Path, language: Language) -> Self {
        let (path, context, question) = (questions.to_path_buf(), language, language);
        let mut sources = Self::default();
        sources.insert(predictions, QuestionSource { path, context, question, squad_rules: false });
        sources
    }

    /// Writes `questions.json` into the folder of the predictions, atomically.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write(&self, folder: impl AsRef<Path>) -> Result<(), Error> {
        write_json(&folder.as_ref().join(FILE_NAME), self)
    }

    /// Reads a folder's `questions.json`; `None` if the file does not exist.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Json`].
    pub fn read(folder: impl AsRef<Path>) -> Result<Option<Self>, Error> {
        let path = folder.as_ref().join(FILE_NAME);
        if !path.exists() {
            return Ok(None);
        }
        let expected = "{\"<prediction file>\": {\"path\": \"…\", \"context\": \"en\", \
                        \"question\": \"de\"}, …}";
        read_json(&path, expected).map(Some)
    }
}
