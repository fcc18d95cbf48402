//! Counts training questions that windows truncate, skip or label as unanswerable.
use std::borrow::Cow;

use tokenizers::Tokenizer;

use super::decode::check_question_indices;
use super::tokens::{clear_truncation, tokenize};
use crate::{Error, Question, Window, WindowConfig};

/// Counts of training questions that [`windows`](crate::windows()) truncates, skips or labels as
/// unanswerable.
///
/// A question may be counted in several fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WindowCounts {
    /// Number of questions.
    pub questions: usize,
    /// Questions without an answer that has an offset.
    pub without_answer: usize,
    /// Questions whose first answer with an offset, the training target, is blank.
    pub blank_answer: usize,
    /// Questions whose context is blank.
    pub blank_context: usize,
    /// Questions with an answer that no window contains completely.
    pub answer_outside: usize,
    /// Questions truncated at [`WindowConfig::max_question_length`].
    pub truncated_question: usize,
}

impl WindowCounts {
    /// Counts `questions` and their `windows` under `config`.
    ///
    /// ```
    /// use mlqa_eval::{
    ///     Purpose, Question, WindowConfig, WindowCounts, load_tokenizer, windows,
    /// };
    ///
    /// let question = Question {
    ///     id: "q1".into(),
    ///     question: "What?".into(),
    ///     context: "It is a red house.".into(),
    ///     answers: Vec::new(),
    ///     title: "".into(),
    /// };
    /// let tokenizer = load_tokenizer("../testkit/fixtures/tokenizer.json")?;
    /// let (questions, config) = ([question], WindowConfig::default());
    /// let all = windows(&questions, &tokenizer, &config, Purpose::Train)?;
    /// let counts = WindowCounts::of(&questions, &all, &tokenizer, &config)?;
    /// assert_eq!((counts.questions, counts.without_answer), (1, 1));
    /// # Ok::<(), mlqa_eval::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Tokenizer`]; [`Error::Window`] if a window belongs to none of the questions.
    pub fn of(
        questions: &[Question],
        windows: &[Window],
        tokenizer: &Tokenizer,
        config: &WindowConfig,
    ) -> Result<Self, Error> {
        let mut counts = Self { questions: questions.len(), ..Self::default() };
        let mut has_answer = vec![false; questions.len()];
        let tokenizer = clear_truncation(Cow::Borrowed(tokenizer))?;
        let max_question_end = 1 + config.max_question_length;
        check_question_indices(windows, questions.len())?;
        for question_windows in windows.chunk_by(|window, next| window.question == next.question) {
            let window = &question_windows[0];
            let question = &questions[window.question];
            let contains_answer =
                |window: &Window| window.start_position.is_some_and(|start| start > 0);
            has_answer[window.question] = question_windows.iter().any(contains_answer);
            // Only the few questions that reach the limit are tokenised again.
            if window.question_end == max_question_end {
                let name = &|| format!("the text of question `{}`", question.id);
                let tokens = tokenize(&tokenizer, None, &question.question, name)?.ids.len();
                counts.truncated_question += usize::from(tokens > config.max_question_length);
            }
        }
        for (question, has_answer) in questions.iter().zip(has_answer) {
            counts.blank_context += usize::from(question.context.trim().is_empty());
            match question.located_answer() {
                None => counts.without_answer += 1,
                Some(answer) if answer.text.trim().is_empty() => counts.blank_answer += 1,
                Some(_) => counts.answer_outside += usize::from(!has_answer),
            }
        }
        Ok(counts)
    }
}
