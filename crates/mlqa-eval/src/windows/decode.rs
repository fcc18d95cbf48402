//! Decoding of start and end logits into answers.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use ndarray::{ArrayBase, Data, Ix1};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::compatible::run_qa_answers;
use super::highest::highest;
use crate::{Candidate, Compatible, Error, NBest, Question, Window};

/// Options of [`decode`]. The defaults are those of the scripts that the four papers build on.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DecodeConfig {
    /// Number of starts and ends considered per window, and of answers retained per question.
    pub n_best: usize,
    /// Maximum answer length in tokens.
    pub max_answer_length: usize,
    /// Null threshold. If set, the answer is "" if the null score (start plus end logit of `<s>`,
    /// the minimum over windows) exceeds the best span's score by more than this. Off by default,
    /// because every question of MLQA and XQuAD has an answer.
    pub allow_null: Option<f32>,
    /// Compatibility mode. Windows must use the same mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compatible: Option<Compatible>,
    /// How answers of different windows are compared.
    #[serde(skip_serializing_if = "WindowScore::is_default")]
    pub window_score: WindowScore,
}

impl Default for DecodeConfig {
    fn default() -> Self {
        Self {
            n_best: 20,
            max_answer_length: 30,
            allow_null: None,
            compatible: None,
            window_score: WindowScore::default(),
        }
    }
}

/// How answers from different windows of a question are compared. Within a window the order of
/// answers is always that of `start_logit + end_logit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowScore {
    /// By the sum of the two logits, as `run_qa` of transformers does. Suitable for models trained
    /// with shared normalisation over windows.
    #[default]
    Raw,
    /// By log-probabilities: each window has a softmax over its context and `<s>`, as in the
    /// question-answering pipeline of transformers.
    Softmax,
    /// By the sum of the two logits minus that of `<s>` in the same window: the margin over "no
    /// answer".
    Margin,
}

impl WindowScore {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The value subtracted from the logits of a window; 0 if no logit is finite.
    fn baseline(self, logits: &[f32], window: &Window) -> f32 {
        let null = logits.first().copied().unwrap_or(f32::NEG_INFINITY);
        let baseline = match self {
            Self::Raw => 0.0,
            Self::Margin => f64::from(null),
            Self::Softmax => {
                let context = logits.get(window.context_start..window.context_end);
                let all = || [null].into_iter().chain(context.unwrap_or_default().iter().copied());
                let highest = f64::from(all().fold(f32::NEG_INFINITY, f32::max));
                let total: f64 = all().map(|logit| (f64::from(logit) - highest).exp()).sum();
                highest + total.ln()
            }
        };
        if baseline.is_finite() { baseline as f32 } else { 0.0 }
    }
}

impl DecodeConfig {
    /// Validates every value.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key that is 0.
    ///
    /// ```
    /// use mlqa_eval::DecodeConfig;
    ///
    /// assert!(DecodeConfig::default().validate().is_ok());
    /// assert!(DecodeConfig { n_best: 0, ..DecodeConfig::default() }.validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        for (key, value) in [("n_best", self.n_best), ("max_answer_length", self.max_answer_length)]
        {
            if value == 0 {
                return Err(Error::config(key, value, "at least 1"));
            }
        }
        if self.allow_null.is_some_and(f32::is_nan) {
            return Err(Error::config("allow_null", f32::NAN, "a number"));
        }
        if self.compatible.is_some() && self.window_score != WindowScore::Raw {
            let rule = "raw if decoding.compatible is set";
            return Err(Error::config("window_score", format!("{:?}", self.window_score), rule));
        }
        Ok(())
    }
}

/// Selects the best answers of every question over all its windows, in the order of `questions`.
///
/// Within a window the `n_best` highest starts are combined with the `n_best` highest ends. A pair
/// is valid if start ≤ end, the span has at most `max_answer_length` tokens, both are in the
/// context, and the start has its maximum context in this window. The score is the sum of the two
/// logits. Under [`WindowScore::Softmax`] and [`WindowScore::Margin`] the window's baselines are
/// subtracted from its logits first, which also changes the candidates' logits and the null scores.
/// Equal scores are ordered by window, start, end; of equal texts only the best is returned.
///
/// # Shapes
/// - `start_logits`, `end_logits`: one `[length]` row for each window, f32; rows may be longer than
///   the window (padding), never shorter.
///
/// # Errors
/// [`Error::LogitsCount`]; [`Error::Logits`], naming the question, if a row is too short or
/// holds NaN or +∞ (−∞ marks a forbidden position), or a window's question does not exist;
/// [`Error::Config`] if `n_best` or `max_answer_length` is 0, or `allow_null` is NaN.
pub fn decode<S, E>(
    questions: &[Question],
    windows: &[Window],
    start_logits: &[ArrayBase<S, Ix1>],
    end_logits: &[ArrayBase<E, Ix1>],
    config: &DecodeConfig,
) -> Result<Vec<NBest>, Error>
where
    S: Data<Elem = f32>,
    E: Data<Elem = f32>,
{
    by_question(questions, windows, start_logits, end_logits, config, config.n_best, |best| best)
}

/// Returns only the [`NBest::answer`] of each question; faster than [`decode`].
///
/// # Errors
/// As [`decode`].
pub fn decode_answers<S, E>(
    questions: &[Question],
    windows: &[Window],
    start_logits: &[ArrayBase<S, Ix1>],
    end_logits: &[ArrayBase<E, Ix1>],
    config: &DecodeConfig,
) -> Result<Vec<String>, Error>
where
    S: Data<Elem = f32>,
    E: Data<Elem = f32>,
{
    let answer = |best: NBest| best.answer().to_owned();
    by_question(questions, windows, start_logits, end_logits, config, 1, answer)
}

/// Applies `result` to the `max_answers` best answers of each question.
fn by_question<S, E, T: Send>(
    questions: &[Question],
    windows: &[Window],
    start_logits: &[ArrayBase<S, Ix1>],
    end_logits: &[ArrayBase<E, Ix1>],
    config: &DecodeConfig,
    max_answers: usize,
    result: impl Fn(NBest) -> T + Sync,
) -> Result<Vec<T>, Error>
where
    S: Data<Elem = f32>,
    E: Data<Elem = f32>,
{
    config.validate()?;
    for (tensor, got) in [("start_logits", start_logits.len()), ("end_logits", end_logits.len())] {
        if got != windows.len() {
            return Err(Error::LogitsCount { tensor, expected: windows.len(), got });
        }
    }
    let mut rows: Vec<Vec<Row>> = vec![Vec::new(); questions.len()];
    for (index, window) in windows.iter().enumerate() {
        let (Some(start), Some(end)) = (start_logits.get(index), end_logits.get(index)) else {
            continue;
        };
        let row = Row { index, window, start: values(start), end: values(end) };
        match rows.get_mut(window.question) {
            Some(question_rows) => question_rows.push(row),
            None => {
                let problem = format!(
                    "belong to question index {}, but there are {} questions",
                    window.question,
                    questions.len()
                );
                return Err(row.error("?", "start_logits", problem));
            }
        }
    }
    let best = |(question, mut rows): (&Question, Vec<Row<'_>>)| {
        if config.window_score != WindowScore::Raw {
            rows.iter_mut().try_for_each(|row| row.shift(&question.id, config.window_score))?;
        }
        match config.compatible {
            None => decode_question(question, &rows, config, max_answers),
            Some(Compatible::RunQa) => run_qa_answers(question, &rows, config, max_answers),
        }
    };
    questions.par_iter().zip(rows).map(|pair| best(pair).map(&result)).collect()
}

/// The values of a row, copied if they are not contiguous.
fn values<S: Data<Elem = f32>>(row: &ArrayBase<S, Ix1>) -> Cow<'_, [f32]> {
    row.as_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

/// The logits of a window.
#[derive(Clone)]
pub(crate) struct Row<'a> {
    /// The window's index.
    pub index: usize,
    pub window: &'a Window,
    pub start: Cow<'a, [f32]>,
    pub end: Cow<'a, [f32]>,
}

/// A pair of positions; the text is looked up only for the best spans.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub row: usize,
    pub start: usize,
    pub end: usize,
    pub start_logit: f32,
    pub end_logit: f32,
}

impl Span {
    pub fn score(&self) -> f32 {
        self.start_logit + self.end_logit
    }

    /// The span's code points in the context; `None` for a span outside the context.
    pub fn offsets(&self, rows: &[Row<'_>]) -> Option<(usize, usize)> {
        let row = rows.get(self.row)?;
        Some((row.offsets(self.start)?.0, row.offsets(self.end)?.1))
    }

    /// Creates the answer with `text`, which begins at code point `answer_start` of the context.
    pub fn candidate(&self, rows: &[Row<'_>], text: &str, answer_start: usize) -> Candidate {
        Candidate {
            text: text.to_owned(),
            score: self.score(),
            probability: 0.0,
            start_logit: self.start_logit,
            end_logit: self.end_logit,
            window: rows.get(self.row).map_or(0, |row| row.index),
            start: self.start,
            end: self.end,
            answer_start,
        }
    }
}

impl Row<'_> {
    fn error(&self, id: &str, tensor: &'static str, problem: String) -> Error {
        Error::Logits { id: id.into(), window: self.index, tensor, problem }
    }

    /// Checks that both rows have at least `length` logits and one per token, and that the first
    /// `length` logits are valid.
    pub fn check(&self, id: &str, length: usize) -> Result<(), Error> {
        let tokens = self.window.input_ids.len();
        let length = length.max(tokens);
        for (tensor, logits) in [("start_logits", &self.start), ("end_logits", &self.end)] {
            if logits.len() < length {
                let problem = format!("has {} values for {tokens} tokens", logits.len());
                return Err(self.error(id, tensor, problem));
            }
            let invalid = |value: f32| value.is_nan() || value == f32::INFINITY;
            // Checking all values is faster than stopping at the first invalid one.
            if !logits.iter().take(length).fold(false, |any, &value| any | invalid(value)) {
                continue;
            }
            if let Some(at) = logits.iter().take(length).position(|&value| invalid(value)) {
                let value = logits.get(at).copied().unwrap_or(f32::NAN);
                let problem = format!("is {value} at token {at}; the model's output is not usable");
                return Err(self.error(id, tensor, problem));
            }
        }
        Ok(())
    }

    /// Subtracts the window's baselines; see [`WindowScore`].
    fn shift(&mut self, id: &str, score: WindowScore) -> Result<(), Error> {
        self.check(id, 0)?;
        for logits in [&mut self.start, &mut self.end] {
            let baseline = score.baseline(logits, self.window);
            logits.to_mut().iter_mut().for_each(|logit| *logit -= baseline);
        }
        Ok(())
    }

    /// A token's code points in the context; `None` for a token outside the context.
    pub fn offsets(&self, token: usize) -> Option<(usize, usize)> {
        let within = token.checked_sub(self.window.context_start)?;
        self.window.offsets.get(within).copied()
    }

    /// The `n` context positions with the highest logits, ties to the left.
    fn top(&self, logits: &[f32], n: usize) -> Vec<(usize, f32)> {
        let mut best = highest(logits, n, |later, earlier| later.total_cmp(&earlier).is_gt());
        best.retain(|&(_, logit)| logit > f32::NEG_INFINITY);
        best.iter_mut().for_each(|(at, _)| *at += self.window.context_start);
        best
    }

    fn spans(&self, row: usize, config: &DecodeConfig, spans: &mut Vec<Span>) {
        let Window { context_start, context_end, max_context, .. } = self.window;
        let context = *context_start..*context_end;
        let start = self.start.get(context.clone()).unwrap_or_default();
        // A start is valid if its token has its maximum context in this window.
        let start: Vec<f32> = start
            .iter()
            .enumerate()
            .map(|(at, &logit)| match max_context.get(at) {
                Some(true) => logit,
                _ => f32::NEG_INFINITY,
            })
            .collect();
        let starts = self.top(&start, config.n_best);
        let ends = self.top(self.end.get(context).unwrap_or_default(), config.n_best);
        spans.extend(pairs(row, &starts, &ends, config.max_answer_length));
    }
}

/// The spans from `starts` to `ends` of a row with at most `max_answer_length` tokens.
pub(crate) fn pairs(
    row: usize,
    starts: &[(usize, f32)],
    ends: &[(usize, f32)],
    max_answer_length: usize,
) -> impl Iterator<Item = Span> {
    starts.iter().flat_map(move |&(start, start_logit)| {
        let fits = move |end: usize| start <= end && end - start < max_answer_length;
        let span = move |&(end, end_logit): &(usize, f32)| {
            fits(end).then_some(Span { row, start, end, start_logit, end_logit })
        };
        ends.iter().filter_map(span)
    })
}

/// The `max_answers` best answers of a question.
fn decode_question(
    question: &Question,
    rows: &[Row],
    config: &DecodeConfig,
    max_answers: usize,
) -> Result<NBest, Error> {
    let mut spans = Vec::new();
    let mut null_score: Option<f32> = None;
    for (k, row) in rows.iter().enumerate() {
        row.check(&question.id, 0)?;
        row.spans(k, config, &mut spans);
        if let (Some(start), Some(end)) = (row.start.first(), row.end.first()) {
            let score = start + end;
            null_score = Some(null_score.map_or(score, |lowest| lowest.min(score)));
        }
    }
    // The distinct answers are nearly always among the first spans.
    let first_count = spans.len().min(max_answers.saturating_mul(4));
    if first_count < spans.len() {
        spans.select_nth_unstable_by(first_count, best_first);
    }
    let mut candidates = Vec::new();
    for count in [first_count, spans.len()] {
        let Some(best) = spans.get_mut(..count) else { continue };
        best.sort_unstable_by(best_first);
        candidates = distinct(question, rows, best, max_answers);
        if candidates.len() == max_answers {
            break;
        }
    }
    softmax(&mut candidates);
    let null = match (config.allow_null, null_score, candidates.first()) {
        (Some(threshold), Some(null), Some(best)) => null > best.score + threshold,
        (Some(_), _, None) => true,
        _ => false,
    };
    Ok(NBest { id: question.id.clone(), candidates, null_score, null })
}

/// No two spans compare equal, so the order does not depend on the sort.
fn best_first(a: &Span, b: &Span) -> Ordering {
    match b.score().total_cmp(&a.score()) {
        Ordering::Equal => (a.row, a.start, a.end).cmp(&(b.row, b.start, b.end)),
        other => other,
    }
}

/// The first `n` spans with different texts.
fn distinct(question: &Question, rows: &[Row], spans: &[Span], n: usize) -> Vec<Candidate> {
    let bytes = ByteIndex::new(&question.context, n);
    let mut texts: HashSet<&str, ahash::RandomState> = HashSet::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    for span in spans {
        if candidates.len() == n {
            break;
        }
        let Some((from, to)) = span.offsets(rows) else { continue };
        let raw = bytes.slice(&question.context, from, to);
        let text = raw.trim();
        if text.is_empty() || !texts.insert(text) {
            continue;
        }
        let leading = raw.chars().count() - raw.trim_start().chars().count();
        candidates.push(span.candidate(rows, text, from + leading));
    }
    candidates
}

/// Sets the probabilities over all candidates. The first candidate may not have the highest score:
/// `run_qa` inserts `empty` there.
pub(crate) fn softmax(candidates: &mut [Candidate]) {
    let scores = || candidates.iter().map(|candidate| f64::from(candidate.score));
    let highest = scores().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores().map(|score| (score - highest).exp()).sum();
    for candidate in candidates {
        candidate.probability = (f64::from(candidate.score) - highest).exp() / total;
    }
}

/// Byte offsets of the code points of a text.
pub(crate) enum ByteIndex {
    /// ASCII text: code point and byte offsets are equal.
    Bytes,
    Starts(Vec<usize>),
    /// Not stored: code points are counted on each access.
    Counted,
}

impl ByteIndex {
    /// Creates an index for about `parts` accesses.
    pub fn new(text: &str, parts: usize) -> Self {
        match parts {
            _ if text.is_ascii() => Self::Bytes,
            0 | 1 => Self::Counted,
            _ => Self::Starts(starts(text).collect()),
        }
    }

    /// Code points `from..to`; empty if out of range.
    pub fn slice<'a>(&self, text: &'a str, from: usize, to: usize) -> &'a str {
        let byte = |at: usize| match self {
            Self::Bytes => Some(at),
            Self::Starts(starts) => starts.get(at).copied(),
            Self::Counted => starts(text).nth(at),
        };
        match (byte(from), byte(to)) {
            (Some(from), Some(to)) => text.get(from..to).unwrap_or_default(),
            _ => "",
        }
    }
}

/// Byte offsets of each code point and of the text's end.
fn starts(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()])
}
