//! T-Projection (García-Ferrero et al. 2023): ranks parts of the translation by mutual translation
//! probability with the source span.
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{cut, units};
use crate::{Error, PlaceFault, PlaceSpans, Placed, ScoreRequest, ScoreText, SpanTask, TextScore};

/// Generator of candidate translations of a span.
pub trait Candidates {
    /// Returns parts of the task's translation, in code points, most likely first.
    ///
    /// # Errors
    /// If candidates cannot be read or generated.
    fn candidates(&mut self, task: &SpanTask) -> Result<Vec<Range<usize>>, Error>;
}

/// Generates all parts of up to 1.5 times the source span's words plus two; needs no model. Parts
/// closest to the source span in length and position come first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Windows;

impl Candidates for Windows {
    fn candidates(&mut self, task: &SpanTask) -> Result<Vec<Range<usize>>, Error> {
        let text = task.text()?;
        let words = units(&task.target);
        let max_units = units(&text).len() * 3 / 2 + 2;
        let share = |at: usize, text: &str| at as f64 / text.chars().count().max(1) as f64;
        let (length, place) = (text.chars().count() as f64, share(task.span.start, &task.source));
        let mut all: Vec<(f64, Range<usize>)> = Vec::new();
        for (number, first) in words.iter().enumerate() {
            for last in words.iter().skip(number).take(max_units) {
                let window = first.start..last.end;
                let stretched = (window.len() as f64 / length).ln().abs();
                let moved = (share(window.start, &task.target) - place).abs();
                all.push((stretched + moved, window));
            }
        }
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.start.cmp(&b.1.start)));
        Ok(all.into_iter().map(|(_, window)| window).collect())
    }
}

/// Options of the candidate scoring.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CandidateConfig {
    /// Maximum number of distinct candidates; each needs three scores. Key `most` in a file.
    #[serde(rename = "most")]
    pub max_candidates: usize,
}

impl Default for CandidateConfig {
    fn default() -> Self {
        Self { max_candidates: 30 }
    }
}

/// Scores candidates, and selects the first free occurrence of the best one. Consecutive tasks with
/// the same source and translation do not share words.
#[derive(Clone, Debug)]
pub struct ByCandidates<G, S> {
    /// Candidate generator.
    pub generator: G,
    /// Scorer of texts, given others.
    pub scorer: S,
    /// Number of scored candidates.
    pub config: CandidateConfig,
}

/// Computes how well two texts translate each other (NMTScore, Vamvas and Sennrich 2022, normalised
/// "direct" translation).
///
/// The similarity is `(p(a|b) / p(a|a) + p(b|a) / p(b|b)) / 2` with `p = 2^-CE` and CE the mean
/// over tokens of the negative natural logarithm, as in the released code. Each score is paired
/// with its target's number of words, for scores without tokens.
pub fn translation_similarity(
    a_of_b: (&TextScore, usize),
    a_of_a: (&TextScore, usize),
    b_of_a: (&TextScore, usize),
    b_of_b: (&TextScore, usize),
) -> f64 {
    let mean = |(score, words): (&TextScore, usize)| {
        let count = if score.tokens.is_empty() { words } else { score.tokens.len() };
        score.total / count.max(1) as f64
    };
    let share = |direct, itself| (mean(direct) - mean(itself)).exp2();
    (share(a_of_b, a_of_a) + share(b_of_a, b_of_b)) / 2.0
}

impl<G: Candidates, S: ScoreText> PlaceSpans for ByCandidates<G, S> {
    fn name(&self) -> &'static str {
        "t-projection"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceFault>>, Error> {
        let mut candidate_texts: Vec<Vec<String>> = Vec::with_capacity(tasks.len());
        let mut requests = Vec::new();
        for task in tasks {
            let mut texts: Vec<String> = Vec::new();
            for range in self.generator.candidates(task)? {
                let Some(text) = cut(&task.target, &range) else { continue };
                if !texts.contains(&text) && texts.len() < self.config.max_candidates {
                    texts.push(text);
                }
            }
            let span = task.text()?;
            let a = (task.from, &span);
            // One score of the span given itself, and three scores per candidate.
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
        let scores = super::score::all(&mut self.scorer, &requests)?;
        let words: Vec<usize> =
            requests.iter().map(|request| units(&request.target).len()).collect();
        let mut scored = scores.iter().zip(words);

        let mut all: Vec<Result<Placed, PlaceFault>> = Vec::with_capacity(tasks.len());
        let mut occupied: Vec<Range<usize>> = Vec::new();
        let mut previous: Option<&SpanTask> = None;
        for (task, texts) in tasks.iter().zip(candidate_texts) {
            let goes_on =
                previous.is_some_and(|one| one.source == task.source && one.target == task.target);
            if !goes_on {
                occupied.clear();
            }
            previous = Some(task);
            let mut next =
                || scored.next().ok_or(Error::Count { expected: requests.len(), got: 0 });
            let a_of_a = next()?;
            let mut ranked: Vec<(f64, String)> = Vec::with_capacity(texts.len());
            for text in texts {
                let (a_of_b, b_of_a, b_of_b) = (next()?, next()?, next()?);
                ranked.push((translation_similarity(a_of_b, a_of_a, b_of_a, b_of_b), text));
            }
            ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
            let mut unoccupied = ranked.into_iter().filter_map(|(score, text)| {
                first_free(&task.target, &text, &occupied).map(|span| (span, score))
            });
            let best = unoccupied.next();
            let runners_up: Vec<(Range<usize>, f64)> = unoccupied.take(4).collect();
            all.push(match best {
                None => Err(PlaceFault::NoCandidate),
                Some((span, score)) => {
                    occupied.push(span.clone());
                    Ok(Placed { span, score, method: "t-projection", runners_up })
                }
            });
        }
        Ok(all)
    }
}

/// Returns the first occurrence of a text at word boundaries that does not overlap taken ranges.
fn first_free(target: &str, text: &str, occupied: &[Range<usize>]) -> Option<Range<usize>> {
    let words = units(target);
    let length = text.chars().count();
    words
        .iter()
        .map(|word| word.start..word.start + length)
        .filter(|span| words.iter().any(|word| word.end == span.end))
        .filter(|span| occupied.iter().all(|one| one.end <= span.start || span.end <= one.start))
        .find(|span| cut(target, span).is_some_and(|found| found == text))
}
