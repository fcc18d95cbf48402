//! Spans of tokens and their scores, for the default decoding mode and the mode `run_qa`.
use std::borrow::Cow;

use super::highest::select_top;
use crate::{Candidate, DecodeConfig, Error, Window, WindowScore};

/// The logits of a window.
#[derive(Clone)]
pub(crate) struct Row<'a> {
    /// The window's index.
    pub index: usize,
    pub window: &'a Window,
    pub start: Cow<'a, [f32]>,
    pub end: Cow<'a, [f32]>,
}

/// A pair of start and end positions with their logits. The text is looked up later, for the best
/// spans only.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// Index of the window's [`Row`] among the rows of the question.
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

    /// Returns the span's range of code points in the context; `None` for a span of other tokens
    /// than the context's.
    pub fn offsets(&self, rows: &[Row<'_>]) -> Option<(usize, usize)> {
        let row = &rows[self.row];
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
            window: rows[self.row].index,
            start: self.start,
            end: self.end,
            answer_start,
        }
    }
}

impl Row<'_> {
    pub fn error(&self, id: &str, tensor: &'static str, problem: String) -> Error {
        Error::Logits { id: id.into(), window: self.index, tensor, problem }
    }

    /// Returns the error for a window of another context.
    pub fn outside(&self, end: usize) -> Error {
        let problem = format!("has a token that ends at {end}, after the end of its context");
        Error::Window { window: self.index, problem }
    }

    /// Checks that the parts of the window have the same length.
    fn check_window(&self) -> Result<(), Error> {
        let Window { input_ids, context_start, context_end, offsets, max_context, .. } =
            self.window;
        let context = context_start..context_end;
        if *context_start == 0 || context.start > context.end || *context_end > input_ids.len() {
            let problem = format!("has the context {context:?} in {} tokens", input_ids.len());
            return Err(Error::Window { window: self.index, problem });
        }
        let tokens = context_end - context_start;
        for (name, length) in [("offsets", offsets.len()), ("max_context", max_context.len())] {
            if length != tokens {
                let problem = format!("has {length} {name} for {tokens} tokens of the context");
                return Err(Error::Window { window: self.index, problem });
            }
        }
        Ok(())
    }

    /// Checks that the start logits and the end logits each have at least `length` values, and at
    /// least one value per token of the window. Also checks that no logit is NaN or +∞, and that
    /// the window is valid.
    pub fn check(&self, id: &str, length: usize) -> Result<(), Error> {
        self.check_window()?;
        let tokens = self.window.input_ids.len();
        let length = length.max(tokens);
        for (tensor, logits) in [("start_logits", &self.start), ("end_logits", &self.end)] {
            if logits.len() < length {
                let problem = format!("has {} values for {tokens} tokens", logits.len());
                return Err(self.error(id, tensor, problem));
            }
            let is_invalid = |value: f32| value.is_nan() || value == f32::INFINITY;
            // Checking all values is faster than stopping at the first invalid value.
            if !logits.iter().take(length).fold(false, |any, &value| any | is_invalid(value)) {
                continue;
            }
            if let Some(at) = logits.iter().take(length).position(|&value| is_invalid(value)) {
                let value = logits[at];
                let problem = format!("is {value} at token {at}; the model's output is invalid");
                return Err(self.error(id, tensor, problem));
            }
        }
        Ok(())
    }

    /// Subtracts [`WindowScore::baseline`] of the start logits from the start logits, and
    /// [`WindowScore::baseline`] of the end logits from the end logits.
    pub fn subtract_baselines(&mut self, id: &str, score: WindowScore) -> Result<(), Error> {
        self.check(id, 0)?;
        for logits in [&mut self.start, &mut self.end] {
            let baseline = score.baseline(logits, self.window);
            logits.to_mut().iter_mut().for_each(|logit| *logit -= baseline);
        }
        Ok(())
    }

    /// Returns a token's range of code points in the context; `None` for a token of the question
    /// and a special token.
    pub fn offsets(&self, token: usize) -> Option<(usize, usize)> {
        let index = token.checked_sub(self.window.context_start)?;
        self.window.offsets.get(index).copied()
    }

    /// Returns the `n` context positions with the highest logits; ties go to the first position.
    fn top_positions(&self, logits: &[f32], n: usize) -> Vec<(usize, f32)> {
        let mut best = select_top(logits, n, |later, earlier| later.total_cmp(&earlier).is_gt());
        best.retain(|&(_, logit)| logit > f32::NEG_INFINITY);
        best.iter_mut().for_each(|(at, _)| *at += self.window.context_start);
        best
    }

    /// Appends the spans that combine the best starts with the best ends. `row` is the index of this
    /// row among the rows of the question.
    pub fn add_spans(&self, row: usize, config: &DecodeConfig, spans: &mut Vec<Span>) {
        let Window { context_start, context_end, max_context, .. } = self.window;
        let context = *context_start..*context_end;
        // A token is a valid start only in the window of its maximum context.
        let start: Vec<f32> = self.start[context.clone()]
            .iter()
            .zip(max_context)
            .map(|(&logit, has_max_context)| match has_max_context {
                true => logit,
                false => f32::NEG_INFINITY,
            })
            .collect();
        let starts = self.top_positions(&start, config.n_best);
        let ends = self.top_positions(&self.end[context], config.n_best);
        spans.extend(pair_spans(row, &starts, &ends, config.max_answer_length));
    }
}

/// Returns all spans of a row that begin at one of `starts`, end at one of `ends`, and have at most
/// `max_answer_length` tokens.
pub(crate) fn pair_spans(
    row: usize,
    starts: &[(usize, f32)],
    ends: &[(usize, f32)],
    max_answer_length: usize,
) -> impl Iterator<Item = Span> {
    starts.iter().flat_map(move |&(start, start_logit)| {
        let is_valid_end = move |end: usize| start <= end && end - start < max_answer_length;
        let span = move |&(end, end_logit): &(usize, f32)| {
            is_valid_end(end).then_some(Span { row, start, end, start_logit, end_logit })
        };
        ends.iter().filter_map(span)
    })
}

/// Sets each candidate's probability to the softmax of the scores. The first candidate does not
/// always have the highest score, because `run_qa` may insert `empty` there.
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
    /// No offsets are stored; code points are counted on each access.
    Counted,
}

impl ByteIndex {
    /// Creates an index that is optimised for the expected number of accesses.
    pub fn new(text: &str, accesses: usize) -> Self {
        match accesses {
            _ if text.is_ascii() => Self::Bytes,
            0 | 1 => Self::Counted,
            _ => Self::Starts(byte_offsets(text).collect()),
        }
    }

    /// Returns the code points `from..to`; `None` if they are not in the text. If `from` is after
    /// `to`, which is possible for tokens without visible text, the result is empty.
    pub fn slice<'a>(&self, text: &'a str, from: usize, to: usize) -> Option<&'a str> {
        let byte_at = |at: usize| match self {
            Self::Bytes => Some(at),
            Self::Starts(starts) => starts.get(at).copied(),
            Self::Counted => byte_offsets(text).nth(at),
        };
        let (from, to) = (byte_at(from)?, byte_at(to)?);
        text.get(from..to.max(from))
    }
}

/// Byte offsets of each code point and of the text's end.
fn byte_offsets(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices().map(|(byte, _)| byte).chain([text.len()])
}
