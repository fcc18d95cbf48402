//! Questions, answer lists and logits for the tests.
use std::collections::BTreeMap;
use std::sync::Arc;

use mlqa_eval::{Answer, Candidate, Cell, Dataset, NBest, Predictions, Question};

/// A question with answers at the given offsets.
pub fn question(id: &str, text: &str, context: &str, answers: &[(&str, usize)]) -> Question {
    let answer = |&(text, answer_start): &(&str, usize)| Answer::at(answer_start, text);
    Question {
        id: id.into(),
        question: text.into(),
        context: Arc::from(context),
        answers: answers.iter().map(answer).collect(),
        title: Arc::from(""),
    }
}

/// A question whose answer is the first occurrence of the text in the context.
#[cfg(feature = "windows")]
pub fn question_with_answer(question: &str, context: &str, answer: &str) -> Question {
    let byte = context.find(answer).unwrap();
    let start = context[..byte].chars().count();
    self::question("q", question, context, &[(answer, start)])
}

pub fn dataset(questions: Vec<Question>) -> Dataset {
    Dataset { path: "hand.json".into(), version: None, questions }
}

pub fn predictions(texts: &[(&str, &str)]) -> Predictions {
    let texts = texts.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned()));
    Predictions(texts.collect::<BTreeMap<_, _>>())
}

/// Returns the matrix cell of 10 questions with the given scores.
pub fn cell(f1: f64, em: f64) -> Cell {
    Cell { f1, em, questions: 10, f1_half_width: None, em_half_width: None }
}

/// The answers to a question with their offsets, best first.
pub fn n_best(id: &str, texts: &[(&str, usize)]) -> NBest {
    let candidate = |&(text, answer_start): &(&str, usize)| Candidate {
        text: text.into(),
        answer_start,
        ..Candidate::default()
    };
    let candidates = texts.iter().map(candidate).collect();
    NBest { id: id.into(), candidates, null_score: None, null: false }
}

/// The output of `golden/run_qa.py`.
#[cfg(feature = "windows")]
pub fn run_qa_golden() -> serde_json::Value {
    serde_json::from_str(include_str!("../golden/run_qa.json")).unwrap()
}

/// Returns a logit of `golden/run_qa.py`: without peaks if `kind` is 0, with peaks if it is 1.
/// `side` is 0 for starts and 1 for ends.
#[cfg(feature = "windows")]
pub fn run_qa_logit(kind: u64, side: u64, feature: u64, position: u64) -> f32 {
    // SplitMix64
    let value = ((kind * 2 + side) * 4096 + feature) * 4096 + position;
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let random = value ^ (value >> 31);
    let flat = (random >> 40) as f32 / 1_048_576.0 - 8.0;
    let peak = if random.is_multiple_of(41) { 8.0 } else { 0.0 };
    if kind == 0 { flat } else { flat / 4.0 + peak }
}
