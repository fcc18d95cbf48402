//! Answers with the place that they were found at.
use std::ops::Range;
use std::sync::Arc;

use mlqa_eval::{Candidate, NBest};
use serde::Serialize;

use crate::calibration::probabilities;
use crate::sentence::sentence_around;
use crate::{Calibration, Document};

/// An answer and where it stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answer {
    /// The words of the document.
    pub text: String,
    /// Where it begins in the document, in code points.
    pub start: usize,
    /// Where it ends (exclusive), in code points.
    pub end: usize,
    /// Where it begins in the document's UTF-8, in bytes.
    pub start_byte: usize,
    /// Where it ends (exclusive), in bytes.
    pub end_byte: usize,
    /// The sentence that holds it.
    pub sentence: String,
    /// Where the answer begins in `sentence`, in code points.
    pub start_in_sentence: usize,
    /// [`Document::id`].
    pub document: Arc<str>,
    /// How sure the reader is, 0 to 1: a softmax over the passage's best answers and "no answer".
    pub probability: f64,
    /// Start logit plus end logit, minus those of "no answer" or normalised according to
    /// `--window-score`, and lowered in passages that fit the question less. Orders the answers.
    pub score: f32,
}

/// The answers to a question, best first; no two of them overlap.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Answers {
    /// The question's id, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The question.
    pub question: String,
    /// Empty if no passage has a word that may be an answer.
    pub answers: Vec<Answer>,
    /// Probability of "no answer" in the passage where it is lowest, 0 to 1.
    pub null_probability: f64,
    /// Whether no passage has an answer according to the null threshold.
    pub no_answer: bool,
}

/// Answers to one question, passage after passage.
#[derive(Debug)]
pub(crate) struct Gathered {
    answers: Vec<Answer>,
    null_probability: f64,
    /// The lowest of the passages.
    null_odds: f64,
}

impl Gathered {
    pub fn new() -> Self {
        Self { answers: Vec::new(), null_probability: 1.0, null_odds: f64::INFINITY }
    }

    /// Adds the answers in a passage of a document, and keeps the `max_answers` best of all.
    pub fn add(
        &mut self,
        document: &Document,
        found: &NBest,
        calibration: &Calibration,
        max_answers: usize,
    ) {
        let (shares, null) = probabilities(found, calibration.temperature);
        self.null_probability = self.null_probability.min(null);
        self.null_odds = self.null_odds.min(found.null_odds().unwrap_or(f64::INFINITY));
        let mut kept: Vec<Range<usize>> = Vec::new();
        for (candidate, probability) in found.candidates.iter().zip(shares) {
            let start = candidate.answer_start;
            let span = start..start + candidate.text.chars().count();
            let overlaps = |other: &Range<usize>| span.start < other.end && other.start < span.end;
            if span.is_empty() || kept.iter().any(overlaps) {
                continue;
            }
            if kept.len() == max_answers {
                break;
            }
            // Later candidates of this passage are no better. Probabilities are relative to the
            // other answers of a passage, so that they do not compare passages.
            let last = self.answers.get(max_answers.saturating_sub(1));
            if last.is_some_and(|last| last.score >= candidate.score) {
                break;
            }
            let answer = located(document, candidate, span.clone(), probability);
            let at = self.answers.partition_point(|other| other.score >= candidate.score);
            self.answers.insert(at, answer);
            self.answers.truncate(max_answers);
            kept.push(span);
        }
    }

    pub fn finish(self, id: Option<String>, question: String, threshold: Option<f64>) -> Answers {
        let Self { answers, null_probability, null_odds } = self;
        let no_answer = answers.is_empty() || threshold.is_some_and(|most| null_odds > most);
        Answers { id, question, answers, null_probability, no_answer }
    }
}

fn located(
    document: &Document,
    candidate: &Candidate,
    span: Range<usize>,
    probability: f64,
) -> Answer {
    let text = &*document.text;
    let start_byte = text.char_indices().nth(span.start).map_or(text.len(), |(byte, _)| byte);
    let end_byte = (start_byte + candidate.text.len()).min(text.len());
    let around = sentence_around(text, start_byte..end_byte);
    let before = text.get(around.start..start_byte).unwrap_or_default();
    Answer {
        text: candidate.text.clone(),
        start: span.start,
        end: span.end,
        start_byte,
        end_byte,
        sentence: text.get(around.clone()).unwrap_or_default().to_owned(),
        start_in_sentence: before.chars().count(),
        document: document.id.clone(),
        probability,
        score: candidate.score,
    }
}
