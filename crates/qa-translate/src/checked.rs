//! A question's one answer, checked against its passage.
use mlqa_eval::{Answer, Question};

/// Why a question has no answer to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The file gives none.
    None,
    /// It is blank, or not in the passage where its offset says.
    Misplaced,
}

/// The first gold answer, if the passage holds it.
pub(crate) fn first_answer(question: &Question) -> Result<&Answer, NoAnswer> {
    let answer = question.answers.first().ok_or(NoAnswer::None)?;
    let length = answer.text.chars().count();
    let found = question.context.chars().skip(answer.answer_start).take(length);
    if answer.text.trim().is_empty() || !found.eq(answer.text.chars()) {
        return Err(NoAnswer::Misplaced);
    }
    Ok(answer)
}
