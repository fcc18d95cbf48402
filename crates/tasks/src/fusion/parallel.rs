//! Questions and their translations, for training and evaluation.
use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::path::{Path, PathBuf};

use mlqa_eval::{Dataset, Language, Question};
use qa_translate::align_by_id;

use super::questions_by_id;
use crate::question_answering::{QuestionFile, check_files, xquad_files};
use crate::{Error, Result};

/// Training questions with their source questions; each question has an answer.
///
/// # Example
/// ```
/// use mlqa_eval::{Dataset, Language};
/// use tasks::fusion::PairedQuestions;
///
/// let read = |code| Dataset::read(format!("../../data/xquad/xquad.{code}.json"));
/// let pairs = PairedQuestions::of(&[(Language::EN, read("en")?), (Language::DE, read("de")?)])?;
/// assert_eq!((pairs.target.len(), pairs.source.len()), (2 * 1190, 2 * 1190));
/// assert_eq!(pairs.target[1190].id, pairs.source[1190].id);
/// let unrelated = pairs.unrelated()?;
/// assert!(unrelated.iter().zip(&pairs.source).all(|(other, source)| other.title != source.title));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PairedQuestions {
    /// Questions of all languages, including the source language.
    pub target: Vec<Question>,
    /// For each target question, the same question in the source language.
    pub source: Vec<Question>,
}

impl Display for PairedQuestions {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} training questions with their translations", self.target.len())
    }
}

impl PairedQuestions {
    /// Pairs the questions of datasets by id; the first dataset is in the source language.
    ///
    /// Questions that lack an answer in either language are skipped; see
    /// [`qa_translate::align_by_id`].
    ///
    /// # Errors
    /// [`Error::Empty`] without a dataset; [`Error::Eval`] for a source answer that is not at its
    /// offset; [`Error::Translate`] if a language shares no id with the source.
    pub fn of(datasets: &[(Language, Dataset)]) -> Result<Self> {
        let Some((_, source)) = datasets.first() else {
            return Err(Error::empty("questions in the source language"));
        };
        source.check_answers()?;
        let source_by_id = questions_by_id(source.questions.iter().cloned());
        let mut pairs = Self::default();
        for (language, target) in datasets {
            for question in align_by_id(source, target, *language)?.dataset.questions {
                let Some(source) = source_by_id.get(&question.id).cloned() else { continue };
                pairs.source.push(source);
                pairs.target.push(question);
            }
        }
        Ok(pairs)
    }

    /// Replaces each source question by a question about another article.
    ///
    /// The search for the other question goes through the list of source questions cyclically. It
    /// starts half of the list's length after the question itself.
    ///
    /// # Errors
    /// [`Error::Data`] naming a question without such a replacement.
    pub fn unrelated(&self) -> Result<Vec<Question>> {
        let count = self.source.len();
        let replacement = |(number, target_question): (usize, &Question)| {
            let is_unrelated = |candidate: &&Question| {
                candidate.context != target_question.context
                    && (candidate.title != target_question.title
                        || target_question.title.is_empty())
            };
            let mut candidates = self.source.iter().cycle().skip(number + count / 2).take(count);
            candidates.find(is_unrelated).cloned().ok_or_else(|| {
                let expected = "a question about another article in the data";
                Error::data(format!("question {}", target_question.id), expected, "none")
            })
        };
        self.source.iter().enumerate().map(replacement).collect()
    }
}

/// A question file for evaluation, and the same questions in the source language.
#[derive(Clone, Debug)]
pub struct PairedFile {
    /// Language of contexts, questions and answers.
    pub language: Language,
    /// SQuAD-style JSON.
    pub path: PathBuf,
    /// The corresponding questions in the source language, by id.
    pub translations: BTreeMap<String, Question>,
}

impl PairedFile {
    /// Lists the files `xquad.<lang>.json` of `folder`, with translations from `translation_folder`
    /// for languages other than the source.
    ///
    /// # Errors
    /// [`Error::Eval`] naming a file that cannot be read, or a question without gold answer.
    pub fn list(
        folder: &Path,
        translation_folder: &Path,
        source: Language,
        languages: &[Language],
    ) -> Result<Vec<Self>> {
        let files = xquad_files(folder, languages);
        check_files(&files)?;
        let pair_with_translation = |file: &QuestionFile| {
            let translation_path = match file.path.file_name() {
                Some(name) if file.context != source => translation_folder.join(name),
                _ => file.path.clone(),
            };
            let translations = questions_by_id(Dataset::read(translation_path)?.questions);
            Ok(Self { language: file.context, path: file.path.clone(), translations })
        };
        files.iter().map(pair_with_translation).collect()
    }
}
