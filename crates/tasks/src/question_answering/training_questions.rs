//! Training questions, which are validated when a file is read.
use std::path::Path;

use mlqa_eval::{Dataset, InvalidQuestion, InvalidQuestions, Question, WindowConfig, squad};

use super::{QaData, QuestionEntitySpans, entity_spans};
use crate::{Error, Result};

/// Training questions with validated answer offsets.
///
/// # Example
/// ```
/// use tasks::question_answering::TrainingQuestions;
///
/// let english = TrainingQuestions::read("../../data/xquad/xquad.en.json")?;
/// assert_eq!((english.questions.len(), english.entity_spans.len()), (1190, 0));
/// let (answered, skipped) = english.with_answers()?;
/// assert_eq!((answered.questions.len(), skipped), (1190, 0));
/// # Ok::<(), tasks::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingQuestions {
    /// The questions, in file order.
    pub questions: Vec<Question>,
    /// Spans of the questions' entities, if the file contains them.
    pub entity_spans: QuestionEntitySpans,
}

impl TrainingQuestions {
    /// Returns the data of a [`QaTask`](super::QaTask) with the window options `windows`.
    pub fn data<'a>(&'a self, windows: &'a WindowConfig) -> QaData<'a> {
        let question_entity_spans = Some(&self.entity_spans);
        QaData { questions: &self.questions, question_entity_spans, windows }
    }

    /// Reads a file in any format of [`Dataset::read`].
    ///
    /// The keys `head_start` and `head_length` of a question are the span of its entity, in code
    /// points of the question.
    ///
    /// # Errors
    /// [`Error::Eval`] naming a file in another format, or an invalid question: its answer is not at
    /// its offset, it has no key `answers`, or it has an answer and `is_impossible` is true.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::read_with(path, InvalidQuestions::Error)?.0)
    }

    /// Reads a file like [`TrainingQuestions::read`], and corrects or skips invalid questions
    /// according to `invalid`. Also returns the corrections.
    ///
    /// # Errors
    /// The errors of [`TrainingQuestions::read`]; for invalid questions only with
    /// [`InvalidQuestions::Error`].
    pub fn read_with(
        path: impl AsRef<Path>,
        invalid: InvalidQuestions,
    ) -> Result<(Self, Vec<InvalidQuestion>)> {
        let path = path.as_ref();
        let mut file = squad::File::read(path)?;
        let corrections = file.prepare_training(path, invalid)?;
        let entity_spans = entity_spans::read_entity_spans(&file, path)?;
        let dataset = Dataset::from_squad(file, path)?;
        Ok((Self { questions: dataset.questions, entity_spans }, corrections))
    }

    /// Reads several files.
    ///
    /// # Errors
    /// The errors of [`TrainingQuestions::read`].
    pub fn read_all(paths: impl IntoIterator<Item = impl AsRef<Path>>) -> Result<Self> {
        paths.into_iter().try_fold(Self::default(), |mut combined, path| {
            let Self { questions, entity_spans } = Self::read(path)?;
            combined.questions.extend(questions);
            combined.entity_spans.extend(entity_spans);
            Ok(combined)
        })
    }

    /// Returns the questions whose first answer with an offset is not blank, and the number of
    /// skipped questions.
    ///
    /// # Errors
    /// [`Error::Empty`] if no question remains.
    pub fn with_answers(mut self) -> Result<(Self, usize)> {
        let count = self.questions.len();
        let has_answer = |question: &Question| {
            question.located_answer().is_some_and(|answer| !answer.text.trim().is_empty())
        };
        self.questions.retain(has_answer);
        if self.questions.is_empty() {
            let what = format!("answer to train on in any of {count} questions");
            return Err(Error::Empty { what });
        }
        let skipped = count - self.questions.len();
        Ok((self, skipped))
    }
}
