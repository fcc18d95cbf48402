//! Questions to train and test on: the benchmarks' files, or stand-ins made from passages.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use experiment::{InputPath, JsonFolder};
use mlqa_eval::{Language, Question};
use serde::{Deserialize, Serialize};
use tasks::question_answering::{
    DevSelection, DevSet, QuestionFile, TrainingQuestions, check_files, mlqa_files, question_file,
    xquad_files,
};

use crate::cloze_questions::ClozeQuestions;

/// The questions of a run.
pub struct QuestionData {
    /// To train on.
    pub train: Vec<Question>,
    /// Those that choose a stage's model.
    pub dev: Vec<DevSet>,
    /// Evaluation files by set: `mlqa` or `cloze`, and `xquad`.
    pub sets: BTreeMap<String, Vec<QuestionFile>>,
}

/// Where questions come from.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionSources {
    /// SQuAD-style training files: English alone for zero-shot, with its translations for
    /// translate-train.
    pub train: Vec<InputPath>,
    /// SQuAD-style development files, such as MLQA's English `dev` or SQuAD's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dev: Vec<InputPath>,
    /// Folder with MLQA's question files.
    pub mlqa: JsonFolder,
    /// The split in MLQA's file names, and of the questions made from passages: `dev` or `test`.
    pub split: String,
    /// Folder with `xquad.<lang>.json`; empty: XQuAD is not evaluated.
    pub xquad: JsonFolder,
    /// Makes training and evaluation questions from passages; not with `train` and `mlqa`.
    pub cloze: Option<ClozeQuestions>,
}

impl QuestionSources {
    /// Checks every value; `languages` are those of the evaluation.
    ///
    /// # Errors
    /// Naming the key.
    pub fn validate(&self, languages: &[Language]) -> Result<()> {
        let Self { train, dev, mlqa, split, cloze, .. } = self;
        if let Some(cloze) = cloze {
            cloze.validate().context("data")?;
            let unset = train.is_empty() && dev.is_empty() && !mlqa.is_set();
            ensure!(unset, "data.train, data.dev, data.mlqa: not with data.cloze");
            for language in languages {
                let known = cloze.languages.iter().any(|code| code == language.as_str());
                ensure!(known, "languages: {language} is not among data.cloze.languages");
            }
        } else {
            let what = "SQuAD-style training files, such as [\"train-v1.1.json\"]";
            train.first().unwrap_or(&InputPath::default()).required("data.train", what)?;
            mlqa.required("data.mlqa", "a folder with MLQA's question files")?;
        }
        let known = ["dev", "test"].contains(&split.as_str());
        ensure!(known, "data.split = {split:?}: must be \"dev\" or \"test\"");
        ensure!(!languages.is_empty(), "languages = []: give at least one");
        Ok(())
    }

    /// The questions to train on, those that choose a model as `selection` says, and those to be
    /// answered. Questions made from passages are written to the folder `made`; of these the
    /// development questions of the training languages choose.
    ///
    /// # Errors
    /// Naming the file that cannot be read or written, or that cannot be scored; as
    /// [`DevSelection::sets`].
    pub fn load(
        &self,
        languages: &[Language],
        selection: &DevSelection,
        made: &Path,
    ) -> Result<QuestionData> {
        let mut sets = BTreeMap::new();
        let mut train;
        let mut dev: Vec<PathBuf> = self.dev.iter().map(|file| file.to_path_buf()).collect();
        if let Some(cloze) = &self.cloze {
            let data = cloze.make()?;
            data.write(made)?;
            train = data.train.questions;
            for code in &cloze.train_languages {
                let language = Language::new(code)?;
                dev.push(question_file(made, "dev", language, language));
            }
            sets.insert("cloze".to_owned(), mlqa_files(made, &self.split, languages));
        } else {
            train = TrainingQuestions::read_all(&self.train)?.questions;
            sets.insert("mlqa".to_owned(), mlqa_files(&self.mlqa, &self.split, languages));
        }
        if self.xquad.is_set() {
            sets.insert("xquad".to_owned(), xquad_files(&self.xquad, languages));
        }
        check_files(sets.values().flatten())?;
        let dev = selection.sets(&dev, &mut train)?;
        Ok(QuestionData { train, dev, sets })
    }
}
