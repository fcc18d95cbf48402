//! A question's answers, checked against its passage.
use mlqa_eval::{Answer, Question};

/// Why a question has no answer to work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The file gives none.
    None,
    /// It is blank, or not in the passage where its offset says.
    Misplaced,
}

/// The different gold answers that the passage holds, in order, and how many it does not hold;
/// an error where it holds none.
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
