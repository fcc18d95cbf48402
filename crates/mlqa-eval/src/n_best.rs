//! The best answers of each question.
use serde::Serialize;

/// One answer to a question.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The part of the context, without surrounding white space.
    pub text: String,
    /// `start_logit + end_logit`.
    pub score: f32,
    /// Softmax of the scores over the answers kept for this question.
    pub probability: f64,
    /// Logit of the first token as start.
    pub start_logit: f32,
    /// Logit of the last token as end.
    pub end_logit: f32,
    /// Index of the window.
    pub window: usize,
    /// Index in the window of the first token.
    pub start: usize,
    /// Index in the window of the last token (inclusive).
    pub end: usize,
    /// Where the answer begins in the context, in code points.
    pub answer_start: usize,
}

/// The answers to one question, best first.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NBest {
    /// The question's id.
    pub id: String,
    /// At most `n_best` answers with different texts; empty if no window allows any.
    /// Decoding as `run_qa` does keeps equal and empty texts.
    pub candidates: Vec<Candidate>,
    /// The lowest `<s>` score of the question's windows; `None` without windows.
    pub null_score: Option<f32>,
    /// Whether no answer was chosen, as decoding may where it is allowed to.
    pub null: bool,
}

impl NBest {
    /// The answer to score: the best candidate's text, or "" for none.
    pub fn answer(&self) -> &str {
        match self.best() {
            Some(best) if !self.null => &best.text,
            _ => "",
        }
    }

    /// The best candidate that has a text; only decoding as `run_qa` does gives others.
    fn best(&self) -> Option<&Candidate> {
        self.candidates.iter().find(|candidate| !candidate.text.is_empty())
    }

    /// The null score less that of the best answer, as Hugging Face's `null_odds.json` has it: the
    /// larger, the surer that there is no answer. The null score alone without an answer; `None`
    /// without windows.
    pub fn null_odds(&self) -> Option<f64> {
        let best = self.best().map_or(0.0, |best| f64::from(best.score));
        self.null_score.map(|null| f64::from(null) - best)
    }
}
