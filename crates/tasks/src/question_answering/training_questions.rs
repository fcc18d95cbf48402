//! Questions to train on, checked as they are read.
use std::path::Path;

use mlqa_eval::{Dataset, Question, WindowConfig, squad};

use super::negatives::has_several_paragraphs;
use super::{QaData, QuestionEntitySpans, entity_spans};
use crate::{Error, Result};

/// Questions of files whose answers stand where the files say.
///
/// # Example
/// ```
/// use tasks::question_answering::TrainingQuestions;
///
/// let english = TrainingQuestions::read("../../data/xquad/xquad.en.json")?;
/// assert_eq!((english.questions.len(), english.entity_spans.len()), (1190, 0));
/// let (answered, left_out) = english.answered()?;
/// assert_eq!((answered.questions.len(), left_out), (1190, 0));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingQuestions {
    /// The questions, in file order.
    pub questions: Vec<Question>,
    /// The entities of the questions, where the file marks them.
    pub entity_spans: QuestionEntitySpans,
}

impl TrainingQuestions {
    /// The questions and their entities, with contexts cut by `windows`.
    pub fn data<'a>(&'a self, windows: &'a WindowConfig) -> QaData<'a> {
        let question_entity_spans = Some(&self.entity_spans);
        QaData { questions: &self.questions, question_entity_spans, windows }
    }

    /// Reads a file of any form that [`Dataset::read`] takes; `head_start` and `head_length` beside
    /// a question say where its entity stands, both in code points of the question.
    ///
    /// # Errors
    /// [`Error::Eval`] naming the file that has no such form, or the question whose answer does not
    /// stand at its offset.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = squad::File::read(path)?;
        let entity_spans = entity_spans::of_file(&file, path)?;
        let dataset = Dataset::from_squad(file, path)?;
        dataset.check_answers()?;
        Ok(Self { questions: dataset.questions, entity_spans })
    }

    /// Reads several files, one after the other.
    ///
    /// # Errors
    /// As [`TrainingQuestions::read`].
    pub fn read_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        let files = paths.into_iter().map(Self::read).collect::<Result<Vec<_>>>()?;
        Ok(files.into_iter().collect())
    }

    /// Whether most articles of a file have several paragraphs, so that questions can be trained
    /// with [`Negatives`](super::Negatives) from their own article. Articles are recognised by
    /// their titles.
    pub fn has_several_paragraphs(&self) -> bool {
        has_several_paragraphs(&self.questions)
    }

    /// The questions whose first answer, the one that is trained, has a text, and how many are left
    /// out.
    ///
    /// # Errors
    /// [`Error::Empty`] if no question is left.
    pub fn answered(mut self) -> Result<(Self, usize)> {
        let all = self.questions.len();
        let text = |question: &Question| question.answers.first().map(|answer| answer.text.clone());
        let answered =
            |question: &Question| text(question).is_some_and(|own| !own.trim().is_empty());
        self.questions.retain(answered);
        if self.questions.is_empty() {
            let what = format!("answer to train on in any of {all} questions");
            return Err(Error::Empty { what });
        }
        let left_out = all - self.questions.len();
        Ok((self, left_out))
    }
}

/// Concatenates the questions of several files.
impl FromIterator<TrainingQuestions> for TrainingQuestions {
    fn from_iter<I: IntoIterator<Item = Self>>(files: I) -> Self {
        let mut all = Self::default();
        for Self { questions, entity_spans } in files {
            all.questions.extend(questions);
            all.entity_spans.extend(entity_spans);
        }
        all
    }
}
