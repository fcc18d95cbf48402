//! T-Projection (García-Ferrero et al. 2023): ranks parts of the translation by the probability
//! that the part and the source span are translations of each other.
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{slice, word_ranges};
use crate::{Error, PlaceError, PlaceSpans, Placed, ScoreRequest, ScoreText, SpanTask, TextScore};

/// Generator of candidate translations of a span.
pub trait Candidates {
    /// Returns ranges of the task's translation, in code points, most likely first.
    ///
    /// # Errors
    /// [`Error`] if candidates cannot be read or generated.
    fn candidates(&mut self, task: &SpanTask) -> Result<Vec<Range<usize>>, Error>;
}

/// Generates all ranges with a limited number of words, without a model.
///
/// A range has at most two words more than 1.5 times the number of words of the source span. The
/// ranges that are closest to the source span in length and position are first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Windows;

impl Candidates for Windows {
    fn candidates(&mut self, task: &SpanTask) -> Result<Vec<Range<usize>>, Error> {
        let text = task.text()?;
        let words = word_ranges(&task.target);
        let max_words = word_ranges(&text).len() * 3 / 2 + 2;
        let relative_position =
            |offset: usize, text: &str| offset as f64 / text.chars().count().max(1) as f64;
        let length = text.chars().count() as f64;
        let source_position = relative_position(task.span.start, &task.source);
        let mut ranked: Vec<(f64, Range<usize>)> = Vec::new();
        for (index, first) in words.iter().enumerate() {
            for last in words.iter().skip(index).take(max_words) {
                let window = first.start..last.end;
                let length_difference = (window.len() as f64 / length).ln().abs();
                let position = relative_position(window.start, &task.target);
                let position_difference = (position - source_position).abs();
                ranked.push((length_difference + position_difference, window));
            }
        }
        ranked.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.start.cmp(&b.1.start)));
        Ok(ranked.into_iter().map(|(_, window)| window).collect())
    }
}

/// Options for scoring candidates.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidateScoringConfig {
    /// Maximum number of distinct candidates; three scores are computed for each candidate. The
    /// configuration key is `most`.
    #[serde(rename = "most")]
    pub max_candidates: usize,
}

impl Default for CandidateScoringConfig {
    fn default() -> Self {
        Self { max_candidates: 30 }
    }
}

/// Scores candidates, and selects the first occurrence of the best candidate.
///
/// In consecutive tasks with the same source and translation, occurrences that overlap an earlier
/// selected span are skipped.
#[derive(Clone, Debug)]
pub struct ByCandidates<G, S> {
    /// Candidate generator.
    pub generator: G,
    /// Scorer of texts.
    pub scorer: S,
    /// Options.
    pub config: CandidateScoringConfig,
}

/// Computes the translation similarity of two texts (NMTScore, Vamvas and Sennrich 2022, normalised
/// "direct" translation).
///
/// The similarity is `(p(a|b) / p(a|a) + p(b|a) / p(b|b)) / 2` where `p = 2^-CE`, and CE is the
/// mean over tokens of the negative natural logarithm of the token's probability, as in the
/// released code. Each score is passed with the number of words of its target, which replaces the
/// number of tokens if the score has no tokens.
pub fn translation_similarity(
    a_given_b: (&TextScore, usize),
    a_given_a: (&TextScore, usize),
    b_given_a: (&TextScore, usize),
    b_given_b: (&TextScore, usize),
) -> f64 {
    let mean = |(score, words): (&TextScore, usize)| {
        let count = if score.tokens.is_empty() { words } else { score.tokens.len() };
        score.total / count.max(1) as f64
    };
    let normalized = |direct, reconstruction| (mean(direct) - mean(reconstruction)).exp2();
    (normalized(a_given_b, a_given_a) + normalized(b_given_a, b_given_b)) / 2.0
}

impl<G: Candidates, S: ScoreText> PlaceSpans for ByCandidates<G, S> {
    fn name(&self) -> &'static str {
        "t-projection"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let mut candidate_texts: Vec<Vec<String>> = Vec::with_capacity(tasks.len());
        let mut requests = Vec::new();
        for task in tasks {
            let mut texts: Vec<String> = Vec::new();
            for range in self.generator.candidates(task)? {
                super::check_end(&task.target, &range)?;
                // Blank candidates are skipped.
                let Some(text) = slice(&task.target, &range) else { continue };
                if !texts.contains(&text) && texts.len() < self.config.max_candidates {
                    texts.push(text);
                }
            }
            let span = task.text()?;
            let a = (task.from, &span);
            // The requests are one score of the span given itself, and three scores per candidate.
            let text_pairs = |text| {
                [((task.to, text), a), (a, (task.to, text)), ((task.to, text), (task.to, text))]
            };
            let pairs = std::iter::once((a, a)).chain(texts.iter().flat_map(text_pairs));
            requests.extend(pairs.map(|((from, source), (to, target))| ScoreRequest {
                from,
                to,
                source: source.clone(),
                target: target.clone(),
            }));
            candidate_texts.push(texts);
        }
        let scores = super::score::score_all(&mut self.scorer, &requests)?;
        let words: Vec<usize> =
            requests.iter().map(|request| word_ranges(&request.target).len()).collect();
        let mut scores_with_word_counts = scores.iter().zip(words);

        let mut results: Vec<Result<Placed, PlaceError>> = Vec::with_capacity(tasks.len());
        let mut occupied: Vec<Range<usize>> = Vec::new();
        let mut previous: Option<&SpanTask> = None;
        for (task, texts) in tasks.iter().zip(candidate_texts) {
            let has_same_texts = previous.is_some_and(|previous| {
                previous.source == task.source && previous.target == task.target
            });
            if !has_same_texts {
                occupied.clear();
            }
            previous = Some(task);
            let mut next_score = || {
                scores_with_word_counts
                    .next()
                    .ok_or(Error::Count { expected: requests.len(), got: 0 })
            };
            let a_given_a = next_score()?;
            let mut ranked: Vec<(f64, String)> = Vec::with_capacity(texts.len());
            for text in texts {
                let (a_given_b, b_given_a, b_given_b) =
                    (next_score()?, next_score()?, next_score()?);
                ranked.push((
                    translation_similarity(a_given_b, a_given_a, b_given_a, b_given_b),
                    text,
                ));
            }
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut unoccupied = ranked.into_iter().filter_map(|(score, text)| {
                first_unoccupied(&task.target, &text, &occupied).map(|span| (span, score))
            });
            let best = unoccupied.next();
            let runners_up: Vec<(Range<usize>, f64)> = unoccupied.take(4).collect();
            results.push(match best {
                None => Err(PlaceError::NoCandidate),
                Some((span, score)) => {
                    occupied.push(span.clone());
                    Ok(Placed { span, score, method: "t-projection", runners_up })
                }
            });
        }
        Ok(results)
    }
}

/// Returns the first occurrence of a text at word boundaries that does not overlap occupied ranges.
fn first_unoccupied(target: &str, text: &str, occupied: &[Range<usize>]) -> Option<Range<usize>> {
    let words = word_ranges(target);
    let length = text.chars().count();
    words
        .iter()
        .map(|word| word.start..word.start + length)
        .filter(|span| words.iter().any(|word| word.end == span.end))
        .filter(|span| {
            occupied.iter().all(|range| range.end <= span.start || span.end <= range.start)
        })
        .find(|span| slice(target, span).is_some_and(|found| found == text))
}
