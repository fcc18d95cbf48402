//! Conditional probabilities of texts.
use std::ops::Range;

use mlqa_eval::Language;

use crate::Error;

/// A request for the probability of a text given another text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoreRequest {
    /// The language of `source`.
    pub from: Language,
    /// The language of `target`.
    pub to: Language,
    /// The text on which the probability is conditioned.
    pub source: String,
    /// The text to score.
    pub target: String,
}

/// The logarithmic probability `ln p(target | source)`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TextScore {
    /// Natural logarithm of the probability of the complete target; finite.
    pub total: f64,
    /// Range in code points and log-probability of each token; empty if unknown.
    pub tokens: Vec<(Range<usize>, f64)>,
}

/// A scorer of texts.
pub trait ScoreText {
    /// Returns one score for each request, in order.
    ///
    /// # Errors
    /// [`Error`] if the texts cannot be scored.
    fn score(&mut self, requests: &[ScoreRequest]) -> Result<Vec<TextScore>, Error>;
}

/// Returns the scores of all requests, and checks their number.
pub(super) fn score_all(
    scorer: &mut impl ScoreText,
    requests: &[ScoreRequest],
) -> Result<Vec<TextScore>, Error> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let scores = scorer.score(requests)?;
    if scores.len() != requests.len() {
        return Err(Error::Count { expected: requests.len(), got: scores.len() });
    }
    Ok(scores)
}
