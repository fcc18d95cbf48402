//! Validation of a question's answers against its passage.
use mlqa_eval::{Answer, Question};

/// Reason why a question has no usable answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The file has no answer.
    None,
    /// The answer is blank, or not at its offset in the passage.
    Misplaced,
}

/// Returns the distinct gold answers in the passage, in order, and the number of other answers.
/// Returns an error if no answer is in the passage.
pub(crate) fn answers(question: &Question) -> Result<(Vec<&Answer>, usize), NoAnswer> {
    let mut all: Vec<&Answer> = Vec::with_capacity(question.answers.len());
    for answer in &question.answers {
        if !all.contains(&answer) {
            all.push(answer);
        }
    }
    let different = all.len();
    all.retain(|answer| is_placed(question, answer));
    match (all.len(), different) {
        (_, 0) => Err(NoAnswer::None),
        (0, _) => Err(NoAnswer::Misplaced),
        (placed, _) => Ok((all, different - placed)),
    }
}

fn is_placed(question: &Question, answer: &Answer) -> bool {
    let length = answer.text.chars().count();
    let found = question.context.chars().skip(answer.answer_start).take(length);
    !answer.text.trim().is_empty() && found.eq(answer.text.chars())
}
