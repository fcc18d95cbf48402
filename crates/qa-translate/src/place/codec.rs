//! CODEC (Le et al. 2024): places a marker pair in the translation so that the marked translation
//! is most probable, given the marked source.
use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{score, slice, word_ranges};
use crate::markers::mark;
use crate::{Error, PlaceError, PlaceSpans, Placed, ScoreRequest, ScoreText, SpanTask, TextScore};

/// Options for placing markers. The defaults equal the values in the released code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecConfig {
    /// Spans may start only near a token whose log-probability changes by at least this value if
    /// markers are added to the source. The option `window` defines which tokens are near.
    pub min_nearby_change: f64,
    /// Minimum change of the log-probability of a token at which a span starts.
    pub min_start_change: f64,
    /// Number of tokens before and after the central token of a window.
    pub window: usize,
    /// Number of candidate spans (hypotheses) that are retained, best first.
    pub n_best: usize,
    /// Maximum number of words of a span.
    pub max_words: usize,
    /// Whether the hypotheses are reranked by the probability of the source span given the
    /// hypothesis.
    pub rerank: bool,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self {
            min_nearby_change: 0.5,
            min_start_change: 0.1,
            window: 5,
            n_best: 5,
            max_words: 16,
            rerank: true,
        }
    }
}

/// A span of the translation, with the log-probability of the translation if this span is marked.
struct Hypothesis {
    span: Range<usize>,
    /// `ln p(marked translation | marked source)`.
    score: f64,
}

/// Places markers where the marked translation has the best score.
///
/// All spans of at most `max_words` words whose first word is an allowed start are scored, so the
/// search is exact. The scorer is called in three rounds: to find the allowed starts, to score the
/// spans, and to rerank the best spans by the reverse translation direction.
#[derive(Clone, Debug)]
pub struct ByConstrainedDecoding<S> {
    /// Scorer of texts.
    pub scorer: S,
    /// Options.
    pub config: CodecConfig,
}

impl<S: ScoreText> PlaceSpans for ByConstrainedDecoding<S> {
    fn name(&self) -> &'static str {
        "codec"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceError>>, Error> {
        let mut marked = Vec::with_capacity(tasks.len());
        let mut requests = Vec::with_capacity(2 * tasks.len());
        for task in tasks {
            task.text()?;
            let text = mark(&task.source, std::slice::from_ref(&task.span))?.text;
            requests.push(source_to_target_request(task, task.source.clone(), task.target.clone()));
            requests.push(source_to_target_request(task, text.clone(), task.target.clone()));
            marked.push(text);
        }
        let scores = score::score_all(&mut self.scorer, &requests)?;

        let mut spans_by_task = Vec::with_capacity(tasks.len());
        requests.clear();
        for ((task, marked), scores) in tasks.iter().zip(&marked).zip(scores.chunks(2)) {
            let words = word_ranges(&task.target);
            let is_start = allowed_starts(&words, &scores[0], &scores[1], &self.config);
            let mut spans = Vec::new();
            for (first, word) in words.iter().enumerate().filter(|&(index, _)| is_start[index]) {
                for last in words.iter().skip(first).take(self.config.max_words) {
                    let span = word.start..last.end;
                    let text = mark(&task.target, std::slice::from_ref(&span))?.text;
                    requests.push(source_to_target_request(task, marked.clone(), text));
                    spans.push(span);
                }
            }
            spans_by_task.push(spans);
        }
        let scores = score::score_all(&mut self.scorer, &requests)?;
        let mut totals = scores.iter().map(|score| score.total);
        let mut hypotheses_by_task: Vec<Vec<Hypothesis>> = Vec::with_capacity(tasks.len());
        for spans in spans_by_task {
            let totals = totals.by_ref().take(spans.len());
            let mut hypotheses: Vec<Hypothesis> = spans
                .into_iter()
                .zip(totals)
                .map(|(span, score)| Hypothesis { span, score })
                .collect();
            // The sort is stable, so hypotheses with equal scores remain in order.
            hypotheses.sort_by(|a, b| b.score.total_cmp(&a.score));
            hypotheses.truncate(self.config.n_best.max(1));
            hypotheses_by_task.push(hypotheses);
        }
        if !self.config.rerank {
            return Ok(hypotheses_by_task
                .into_iter()
                .map(|hypotheses| to_placed(hypotheses, 0))
                .collect());
        }

        requests.clear();
        for (task, hypotheses) in tasks.iter().zip(&hypotheses_by_task) {
            let target = task.text()?;
            for Hypothesis { span, .. } in hypotheses {
                let source = slice(&task.target, span).expect("a hypothesis consists of words");
                let (from, to, target) = (task.to, task.from, target.clone());
                requests.push(ScoreRequest { from, to, source, target });
            }
        }
        let scores = score::score_all(&mut self.scorer, &requests)?;
        let mut losses_by_hypothesis = scores.iter().map(|score| -score.total);
        let mut results = Vec::with_capacity(tasks.len());
        for (task, hypotheses) in tasks.iter().zip(hypotheses_by_task) {
            let losses: Vec<f64> = losses_by_hypothesis.by_ref().take(hypotheses.len()).collect();
            results.push(match rerank(task, &hypotheses, &losses)? {
                Some(selected) => to_placed(hypotheses, selected),
                None if hypotheses.is_empty() => Err(PlaceError::NoCandidate),
                None => Err(PlaceError::Rejected),
            });
        }
        Ok(results)
    }
}

fn source_to_target_request(task: &SpanTask, source: String, target: String) -> ScoreRequest {
    ScoreRequest { from: task.from, to: task.to, source, target }
}

/// Converts the selected hypothesis to a result, with the other hypotheses as runners-up.
fn to_placed(mut hypotheses: Vec<Hypothesis>, selected: usize) -> Result<Placed, PlaceError> {
    if selected >= hypotheses.len() {
        return Err(PlaceError::NoCandidate);
    }
    let Hypothesis { span, score } = hypotheses.remove(selected);
    let runners_up =
        hypotheses.into_iter().map(|hypothesis| (hypothesis.span, hypothesis.score)).collect();
    Ok(Placed { span, score, method: "codec", runners_up })
}

/// Returns for each word whether the span may start at the word.
///
/// The change of a token is the absolute difference of its scores with and without markers in the
/// source. A word is allowed if it overlaps a token whose change is at least `min_start_change`,
/// and a token in the surrounding window has a change of at least `min_nearby_change`. All words
/// are allowed if there is no such token, or if the two scores have no tokens or different tokens.
fn allowed_starts(
    words: &[Range<usize>],
    plain: &TextScore,
    marked: &TextScore,
    config: &CodecConfig,
) -> Vec<bool> {
    let has_equal_tokens = plain.tokens.len() == marked.tokens.len()
        && plain.tokens.iter().zip(&marked.tokens).all(|(a, b)| a.0 == b.0);
    let changes: Vec<f64> = match has_equal_tokens {
        true => plain.tokens.iter().zip(&marked.tokens).map(|(a, b)| (a.1 - b.1).abs()).collect(),
        false => Vec::new(),
    };
    let is_near_large_change = |index: usize| {
        let window = changes
            .iter()
            .take(index + config.window + 1)
            .skip(index.saturating_sub(config.window));
        window.into_iter().any(|&change| change >= config.min_nearby_change)
    };
    let tokens: Vec<&Range<usize>> = (0..)
        .zip(&changes)
        .zip(&plain.tokens)
        .filter(|&((index, &change), _)| {
            change >= config.min_start_change && is_near_large_change(index)
        })
        .map(|(_, (token, _))| token)
        .collect();
    if tokens.is_empty() {
        return vec![true; words.len()];
    }
    let overlaps_token = |word: &Range<usize>| {
        tokens.iter().any(|token| token.start < word.end && word.start < token.end)
    };
    words.iter().map(overlaps_token).collect()
}

/// Returns the index of the selected hypothesis; `None` if all hypotheses are rejected.
///
/// Hypotheses are sorted, best first. The selection depends on the spelling of the hypotheses and
/// on `losses`, which contains the negative log-probability of the source span given each
/// hypothesis.
fn rerank(
    task: &SpanTask,
    hypotheses: &[Hypothesis],
    losses: &[f64],
) -> Result<Option<usize>, Error> {
    let source = task.text()?.to_lowercase();
    let answer = task.answer.as_deref().map(str::to_lowercase);
    let mut candidates = Vec::new();
    for (index, (hypothesis, &loss)) in hypotheses.iter().zip(losses).enumerate() {
        let text = slice(&task.target, &hypothesis.span);
        let text = text.expect("a hypothesis consists of words").to_lowercase();
        let to_answer = answer.as_deref().map_or(0.0, |answer| spelling_similarity(&text, answer));
        let similarity = to_answer.max(spelling_similarity(&text, &source));
        if similarity > 0.5 || loss < 5.0 {
            candidates.push((index, &hypothesis.span, similarity, loss));
        }
    }
    let by_loss = |a: &(usize, &Range<usize>, f64, f64), b: &(usize, &Range<usize>, f64, f64)| {
        a.3.total_cmp(&b.3)
    };
    let most_similar = candidates.iter().filter(|candidate| candidate.2 >= 0.9).max_by(|a, b| {
        // Ties in spelling are broken by lower loss, then by order.
        a.2.total_cmp(&b.2).then(b.3.total_cmp(&a.3)).then(b.0.cmp(&a.0))
    });
    if let Some(&(index, ..)) = most_similar {
        return Ok(Some(index));
    }
    let Some(&(top, top_span, _, top_loss)) = candidates.first() else { return Ok(None) };
    let is_better_part = |&&(_, span, _, loss): &&(usize, &Range<usize>, f64, f64)| {
        span != top_span
            && top_span.start <= span.start
            && span.end <= top_span.end
            && loss < top_loss
    };
    let best_part = candidates.iter().filter(is_better_part).min_by(|a, b| by_loss(a, b));
    Ok(Some(best_part.map_or(top, |candidate| candidate.0)))
}

/// Computes the similarity of two texts, from 0 to 1 (Ratcliff and Obershelp, as in Python's
/// `difflib` without junk).
///
/// The similarity is twice the number of characters in matching blocks, divided by the number of
/// characters of both texts.
///
/// ```
/// assert_eq!(qa_translate::spelling_similarity("abcd", "bcde"), 0.75);
/// ```
pub fn spelling_similarity(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let mut indices_in_b: HashMap<char, Vec<usize>> = HashMap::new();
    for (index, &c) in b.iter().enumerate() {
        indices_in_b.entry(c).or_default().push(index);
    }
    let (mut matched, mut pending) = (0, vec![(0..a.len(), 0..b.len())]);
    while let Some((in_a, in_b)) = pending.pop() {
        let (mut best, mut lengths) = ((0, 0, 0), HashMap::new());
        for index_a in in_a.clone() {
            let mut next_lengths = HashMap::new();
            let matches = indices_in_b.get(&a[index_a]).map_or(&[][..], Vec::as_slice);
            for &index_b in matches.iter().filter(|index| in_b.contains(index)) {
                let previous =
                    index_b.checked_sub(1).and_then(|index| lengths.get(&index).copied());
                let length: usize = previous.unwrap_or(0) + 1;
                next_lengths.insert(index_b, length);
                if length > best.2 {
                    best = (index_a + 1 - length, index_b + 1 - length, length);
                }
            }
            lengths = next_lengths;
        }
        let (start_a, start_b, length) = best;
        if length > 0 {
            matched += length;
            pending.push((in_a.start..start_a, in_b.start..start_b));
            pending.push((start_a + length..in_a.end, start_b + length..in_b.end));
        }
    }
    2.0 * matched as f64 / (a.len() + b.len()) as f64
}
