//! Validation of a question's answers against its passage.
use std::ops::Range;

use mlqa_eval::{Answer, Question};

/// Reason why a question has no valid answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The data set contains no answer for the question.
    None,
    /// Every answer is blank, or not at its offset in the passage.
    Misplaced,
}

/// Returns the distinct gold answers that are at their offset, in order, and the number of
/// misplaced distinct answers. Returns an error if no answer is at its offset.
pub(crate) fn valid_answers(question: &Question) -> Result<(Vec<&Answer>, usize), NoAnswer> {
    let mut distinct: Vec<&Answer> = Vec::with_capacity(question.answers.len());
    for answer in &question.answers {
        if !distinct.contains(&answer) {
            distinct.push(answer);
        }
    }
    let distinct_count = distinct.len();
    distinct.retain(|answer| is_at_offset(question, answer));
    match (distinct.len(), distinct_count) {
        (_, 0) => Err(NoAnswer::None),
        (0, _) => Err(NoAnswer::Misplaced),
        (valid_count, _) => Ok((distinct, distinct_count - valid_count)),
    }
}

/// Returns whether an answer is not blank and is at its offset in the passage.
fn is_at_offset(question: &Question, answer: &Answer) -> bool {
    let Some(span) = answer.span() else { return false };
    let text = question.context.chars().skip(span.start).take(span.len());
    !answer.text.trim().is_empty() && text.eq(answer.text.chars())
}

/// Returns the span of an answer of [`valid_answers`].
pub(crate) fn valid_span(answer: &Answer) -> Range<usize> {
    answer.span().expect("a valid answer is at its offset")
}
