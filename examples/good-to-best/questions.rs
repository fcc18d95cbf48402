//! Questions for training, model selection and testing.
use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use experiment::{InputPath, JsonFolder};
use mlqa_eval::{Language, Question};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{
    DevSelection, DevSet, QuestionFile, TrainingQuestions, check_files, mlqa_files, xquad_files,
};

/// The name of XQuAD's questions in tables.
const XQUAD: &str = "xquad";

/// The questions of a run.
pub struct QuestionData {
    /// Training questions.
    pub train: Vec<Question>,
    /// Development questions, used to select the best model of each training stage.
    pub dev: Vec<DevSet>,
    /// Evaluation files by the name of their set in tables.
    pub sets: BTreeMap<String, Vec<QuestionFile>>,
}

/// Sources of the questions.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionSources {
    /// Name of the `mlqa` questions in tables; empty: `mlqa`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// SQuAD-style training files: English files for zero-shot transfer, and also their
    /// translations for translate-train.
    pub train: Vec<InputPath>,
    /// SQuAD-style development files, such as the English file of MLQA's `dev` or SQuAD's
    /// development file.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dev: Vec<InputPath>,
    /// Folder with MLQA's question files.
    pub mlqa: JsonFolder,
    /// The split in the file names: `dev` or `test`.
    pub split: String,
    /// Folder with `xquad.<lang>.json`; empty: XQuAD is not evaluated.
    pub xquad: JsonFolder,
}

impl QuestionSources {
    /// Validates every value; `languages` are the languages of the evaluation.
    ///
    /// # Errors
    /// If a value is invalid; the error names the key.
    pub fn validate(&self, languages: &[Language]) -> Result<()> {
        let Self { name, train, mlqa, split, .. } = self;
        let expected = "SQuAD-style training files, such as [\"train-v1.1.json\"]";
        train.first().unwrap_or(&InputPath::default()).required("data.train", expected)?;
        mlqa.required("data.mlqa", "a folder with MLQA's question files")?;
        let valid = ["dev", "test"].contains(&split.as_str());
        ensure!(valid, "data.split = {split:?}: must be \"dev\" or \"test\"");
        ensure!(
            name != XQUAD,
            "data.name = {name:?}: this name is used by the questions of data.xquad"
        );
        ensure!(!languages.is_empty(), "languages = []: give at least one");
        Ok(())
    }

    /// Loads the training questions, the development questions according to `selection`, and the
    /// list of test files.
    ///
    /// # Errors
    /// If a file cannot be read or scored; the error names the file. Also the errors of
    /// [`DevSelection::sets`].
    pub fn load(&self, languages: &[Language], selection: &DevSelection) -> Result<QuestionData> {
        let mut train = TrainingQuestions::read_all(&self.train)?.questions;
        let name = if self.name.is_empty() { "mlqa" } else { &self.name };
        let files = mlqa_files(&self.mlqa, &self.split, languages);
        let mut sets = BTreeMap::from([(name.to_owned(), files)]);
        if self.xquad.is_set() {
            sets.insert(XQUAD.to_owned(), xquad_files(&self.xquad, languages));
        }
        check_files(sets.values().flatten())?;
        let dev: Vec<PathBuf> = self.dev.iter().map(|file| file.to_path_buf()).collect();
        let dev = selection.sets(&dev, &mut train)?;
        Ok(QuestionData { train, dev, sets })
    }
}
