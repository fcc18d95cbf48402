//! Locates the question files that belong to prediction files.
use std::path::PathBuf;

use mlqa_eval::{DatasetName, Language};

/// Location of question files. It takes precedence over a `questions.json` in the folder of the
/// predictions.
#[derive(Clone, Debug)]
pub struct QuestionFiles {
    /// A question file, or a folder of question files with MLQA's file names.
    pub data: Option<PathBuf>,
    /// Language of contexts and answers, if the predictions are a single file.
    pub language: Option<Language>,
    /// The split: the first part of the file names in a folder.
    pub split: String,
    /// File with n-best lists, if the predictions are a single file.
    pub n_best: Option<PathBuf>,
}

impl Default for QuestionFiles {
    fn default() -> Self {
        Self { data: None, language: None, split: "test".into(), n_best: None }
    }
}

impl QuestionFiles {
    /// Returns the languages of the contexts and the questions, if they are configured or the name
    /// of the question file contains them.
    pub(crate) fn languages(&self) -> Option<(Language, Language)> {
        let name = self.data.as_ref().and_then(|data| data.file_name()?.to_str());
        let in_name = name.and_then(|name| name.parse().ok());
        let in_name = in_name.map(|name: DatasetName| (name.context, name.question));
        let with_name = |language| (language, in_name.map_or(language, |(_, question)| question));
        self.language.map(with_name).or(in_name)
    }

    /// Finds the question file of a set and a language pair in the folder `data`.
    pub(crate) fn find_in_folder(
        &self,
        set: &str,
        context: Language,
        question: Language,
    ) -> Option<PathBuf> {
        let data = self.data.as_ref().filter(|data| data.is_dir())?;
        let mlqa_name = DatasetName { split: self.split.clone(), context, question }.to_string();
        let mut names = vec![mlqa_name];
        if context == question && set != "mlqa" {
            names.push(format!("xquad.{context}.json"));
        }
        let folders = [data.join(set), data.clone()];
        let mut paths =
            folders.iter().flat_map(|folder| names.iter().map(|name| folder.join(name)));
        paths.find(|path| path.is_file())
    }
}
