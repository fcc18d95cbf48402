//! CODEC (Le et al. 2024): places a marker pair in the translation so that the marked translation
//! is most probable, given the marked source.
use std::collections::HashMap;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::{cut, score, units};
use crate::markers::mark;
use crate::{Error, PlaceFault, PlaceSpans, Placed, ScoreRequest, ScoreText, SpanTask, TextScore};

/// Options of the marker placement; the defaults are those of the released code.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CodecConfig {
    /// Minimum change of a token's log-probability, caused by the source's markers, that opens a
    /// window.
    pub strong: f64,
    /// Minimum change of a token's log-probability, within a window, that allows the span to start
    /// there.
    pub weak: f64,
    /// Number of tokens of a window on either side.
    pub window: usize,
    /// Number of retained hypotheses.
    pub n_best: usize,
    /// Maximum number of words of a span.
    pub max_words: usize,
    /// Whether the hypotheses are reranked by the reverse direction.
    pub rerank: bool,
}

impl Default for CodecConfig {
    fn default() -> Self {
        Self { strong: 0.5, weak: 0.1, window: 5, n_best: 5, max_words: 16, rerank: true }
    }
}

/// A span with the log-probability of its marked translation.
struct Hypothesis {
    span: Range<usize>,
    /// `ln p(marked translation | marked source)`.
    score: f64,
}

/// Places markers by the scores of whole texts.
///
/// Scores all spans of at most `max_words` words whose first word is an allowed start, so that the
/// best one is found exactly. The scorer is called in three rounds: for the starts, for the spans,
/// and for the reverse direction.
#[derive(Clone, Debug)]
pub struct ByConstrainedDecoding<S> {
    /// Scorer of texts, given others.
    pub scorer: S,
    /// Options.
    pub config: CodecConfig,
}

impl<S: ScoreText> PlaceSpans for ByConstrainedDecoding<S> {
    fn name(&self) -> &'static str {
        "codec"
    }

    fn place(&mut self, tasks: &[SpanTask]) -> Result<Vec<Result<Placed, PlaceFault>>, Error> {
        let mut marked = Vec::with_capacity(tasks.len());
        let mut requests = Vec::with_capacity(2 * tasks.len());
        for task in tasks {
            task.text()?;
            let text = mark(&task.source, task.span.start, task.span.len())?.text;
            requests.push(forward(task, task.source.clone(), task.target.clone()));
            requests.push(forward(task, text.clone(), task.target.clone()));
            marked.push(text);
        }
        let scores = score::all(&mut self.scorer, &requests)?;

        let mut pairs = Vec::with_capacity(tasks.len());
        requests.clear();
        for ((task, marked), scores) in tasks.iter().zip(&marked).zip(scores.chunks(2)) {
            let words = units(&task.target);
            let open = match scores {
                [plain, given] => openings(&words, plain, given, &self.config),
                _ => vec![true; words.len()],
            };
            let mut spans = Vec::new();
            for (first, word) in
                words.iter().enumerate().filter(|&(at, _)| open.get(at) == Some(&true))
            {
                for last in words.iter().skip(first).take(self.config.max_words) {
                    let span = word.start..last.end;
                    let text = mark(&task.target, span.start, span.len())?.text;
                    requests.push(forward(task, marked.clone(), text));
                    spans.push(span);
                }
            }
            pairs.push(spans);
        }
        let scores = score::all(&mut self.scorer, &requests)?;
        let mut totals = scores.iter().map(|score| score.total);
        let mut kept: Vec<Vec<Hypothesis>> = Vec::with_capacity(tasks.len());
        for spans in pairs {
            let totals = totals.by_ref().take(spans.len());
            let mut all: Vec<Hypothesis> = spans
                .into_iter()
                .zip(totals)
                .map(|(span, score)| Hypothesis { span, score })
                .collect();
            // The sort is stable: the first of equal hypotheses remains first.
            all.sort_by(|a, b| b.score.total_cmp(&a.score));
            all.truncate(self.config.n_best.max(1));
            kept.push(all);
        }
        if !self.config.rerank {
            return Ok(kept.into_iter().map(|all| placed(all, 0)).collect());
        }

        requests.clear();
        for (task, hypotheses) in tasks.iter().zip(&kept) {
            let target = task.text()?;
            for Hypothesis { span, .. } in hypotheses {
                let source = cut(&task.target, span).unwrap_or_default();
                let (from, to, target) = (task.to, task.from, target.clone());
                requests.push(ScoreRequest { from, to, source, target });
            }
        }
        let scores = score::all(&mut self.scorer, &requests)?;
        let mut reverse = scores.iter().map(|score| -score.total);
        let mut all = Vec::with_capacity(tasks.len());
        for (task, hypotheses) in tasks.iter().zip(kept) {
            let losses: Vec<f64> = reverse.by_ref().take(hypotheses.len()).collect();
            all.push(match rerank(task, &hypotheses, &losses)? {
                Some(chosen) => placed(hypotheses, chosen),
                None if hypotheses.is_empty() => Err(PlaceFault::NoCandidate),
                None => Err(PlaceFault::Rejected),
            });
        }
        Ok(all)
    }
}

fn forward(task: &SpanTask, source: String, target: String) -> ScoreRequest {
    ScoreRequest { from: task.from, to: task.to, source, target }
}

fn placed(mut all: Vec<Hypothesis>, chosen: usize) -> Result<Placed, PlaceFault> {
    if chosen >= all.len() {
        return Err(PlaceFault::NoCandidate);
    }
    let Hypothesis { span, score } = all.remove(chosen);
    let runners_up = all.into_iter().map(|one| (one.span, one.score)).collect();
    Ok(Placed { span, score, method: "codec", runners_up })
}

/// Returns which words may start the span.
///
/// A start is a token whose score the source's markers change by at least `weak`, in a window
/// around a token whose score they change by at least `strong`. All words are allowed if there is
/// no such token or tokens have no scores.
fn openings(
    words: &[Range<usize>],
    plain: &TextScore,
    marked: &TextScore,
    config: &CodecConfig,
) -> Vec<bool> {
    let equal_tokens = plain.tokens.len() == marked.tokens.len()
        && plain.tokens.iter().zip(&marked.tokens).all(|(a, b)| a.0 == b.0);
    let moved: Vec<f64> = match equal_tokens {
        true => plain.tokens.iter().zip(&marked.tokens).map(|(a, b)| (a.1 - b.1).abs()).collect(),
        false => Vec::new(),
    };
    let changed_nearby = |at: usize| {
        let window =
            moved.iter().take(at + config.window + 1).skip(at.saturating_sub(config.window));
        window.into_iter().any(|&moved| moved >= config.strong)
    };
    let tokens: Vec<&Range<usize>> = (0..)
        .zip(&moved)
        .zip(&plain.tokens)
        .filter(|&((at, &moved), _)| moved >= config.weak && changed_nearby(at))
        .map(|(_, (token, _))| token)
        .collect();
    if tokens.is_empty() {
        return vec![true; words.len()];
    }
    let touches = |word: &Range<usize>| {
        tokens.iter().any(|token| token.start < word.end && word.start < token.end)
    };
    words.iter().map(touches).collect()
}

/// Selects a hypothesis, best first, by spelling and by the losses of the source span under each.
/// Returns `None` if no hypothesis is similar in spelling or probable.
fn rerank(
    task: &SpanTask,
    hypotheses: &[Hypothesis],
    losses: &[f64],
) -> Result<Option<usize>, Error> {
    let source = task.text()?.to_lowercase();
    let answer = task.answer.as_deref().map(str::to_lowercase);
    let mut kept = Vec::new();
    for (number, (hypothesis, &loss)) in hypotheses.iter().zip(losses).enumerate() {
        let text = cut(&task.target, &hypothesis.span).unwrap_or_default().to_lowercase();
        let spelling = answer.as_deref().map_or(0.0, |answer| ratio(&text, answer));
        let spelling = spelling.max(ratio(&text, &source));
        if spelling > 0.5 || loss < 5.0 {
            kept.push((number, &hypothesis.span, spelling, loss));
        }
    }
    let by_loss = |a: &(usize, &Range<usize>, f64, f64), b: &(usize, &Range<usize>, f64, f64)| {
        a.3.total_cmp(&b.3)
    };
    let similar = kept.iter().filter(|one| one.2 >= 0.9).max_by(|a, b| {
        // Ties in spelling are broken by lower loss, then by order.
        a.2.total_cmp(&b.2).then(b.3.total_cmp(&a.3)).then(b.0.cmp(&a.0))
    });
    if let Some(&(number, ..)) = similar {
        return Ok(Some(number));
    }
    let Some(&(top, top_span, _, top_loss)) = kept.first() else { return Ok(None) };
    let inside = |&&(_, span, _, loss): &&(usize, &Range<usize>, f64, f64)| {
        span != top_span
            && top_span.start <= span.start
            && span.end <= top_span.end
            && loss < top_loss
    };
    Ok(Some(kept.iter().filter(inside).min_by(|a, b| by_loss(a, b)).map_or(top, |one| one.0)))
}

/// Computes the similarity of two texts, 0 to 1: twice the characters of their matching blocks
/// divided by the characters of both (Ratcliff and Obershelp; Python's `difflib` without junk).
///
/// ```
/// assert_eq!(qa_translate::ratio("abcd", "bcde"), 0.75);
/// ```
pub fn ratio(a: &str, b: &str) -> f64 {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.is_empty() && b.is_empty() {
        return 1.0;
    }
    let mut places: HashMap<char, Vec<usize>> = HashMap::new();
    for (at, &c) in b.iter().enumerate() {
        places.entry(c).or_default().push(at);
    }
    let (mut matched, mut pending) = (0, vec![(0..a.len(), 0..b.len())]);
    while let Some((in_a, in_b)) = pending.pop() {
        let (mut best, mut lengths) = ((0, 0, 0), HashMap::new());
        for at in in_a.clone() {
            let mut next = HashMap::new();
            let positions_in_b =
                a.get(at).and_then(|c| places.get(c)).map_or(&[][..], Vec::as_slice);
            for &other in positions_in_b.iter().filter(|other| in_b.contains(other)) {
                let before = other.checked_sub(1).and_then(|one| lengths.get(&one).copied());
                let length: usize = before.unwrap_or(0) + 1;
                next.insert(other, length);
                if length > best.2 {
                    best = (at + 1 - length, other + 1 - length, length);
                }
            }
            lengths = next;
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
