//! Decodes start and end logits into answers.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::HashSet;

use ndarray::{ArrayBase, Data, Ix1};
use rayon::prelude::*;

use super::run_qa::decode_like_run_qa;
use super::spans::{ByteIndex, Row, Span, softmax};
use crate::{Candidate, Compatible, DecodeConfig, Error, NBest, Question, Window, WindowScore};

/// Selects the best answers of every question over all its windows, in the order of `questions`.
///
/// Within a window the `n_best` highest starts are combined with the `n_best` highest ends. A pair
/// is valid if start ≤ end, the span has at most `max_answer_length` tokens and is in the context,
/// and [`Window::max_context`] is true for the start. The score is the sum of the two logits.
/// [`WindowScore::Softmax`] and [`WindowScore::Margin`] first subtract one value per window from
/// the start logits and another value from the end logits. The subtraction also changes the
/// candidates' logits and the null scores. Equal scores are ordered by window, start, end; if
/// several candidates have equal texts, only the best is returned.
///
/// # Shapes
/// - `start_logits`, `end_logits`: one `[length]` row for each window, f32; rows may be longer than
///   the window (padding), but not shorter.
///
/// # Errors
/// [`Error::LogitsCount`]; [`Error::Logits`], naming the question, if a row is too short or
/// contains NaN or +∞ (−∞ marks a forbidden position); [`Error::Window`] if a window's question
/// does not exist, an answer is outside the question's context, or the parts of a window have
/// different lengths; [`Error::Config`] if `n_best` or `max_answer_length` is 0, or `allow_null` is
/// NaN.
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
    decode_with(questions, windows, start_logits, end_logits, config, config.n_best, |best| best)
}

/// Like [`decode`], but returns at most `max_candidates` answers per question. They are selected from
/// the same starts and ends as those of [`decode`], so the answers of a call are the first answers
/// of a call with a higher `max_candidates`.
///
/// With [`Compatible::RunQa`], `n_best` answers are returned.
///
/// # Errors
/// The errors of [`decode`].
pub fn decode_candidates<S, E>(
    questions: &[Question],
    windows: &[Window],
    start_logits: &[ArrayBase<S, Ix1>],
    end_logits: &[ArrayBase<E, Ix1>],
    config: &DecodeConfig,
    max_candidates: usize,
) -> Result<Vec<NBest>, Error>
where
    S: Data<Elem = f32>,
    E: Data<Elem = f32>,
{
    let max_answers = match config.compatible {
        None => max_candidates,
        Some(Compatible::RunQa) => config.n_best,
    };
    decode_with(questions, windows, start_logits, end_logits, config, max_answers, |best| best)
}

/// Returns only the [`NBest::answer`] of each question; faster than [`decode`].
///
/// # Errors
/// The errors of [`decode`].
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
    decode_with(questions, windows, start_logits, end_logits, config, 1, answer)
}

/// Applies `result` to the `max_answers` best answers of each question.
fn decode_with<S, E, T: Send>(
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
    check_question_indices(windows, questions.len())?;
    let mut rows: Vec<Vec<Row>> = vec![Vec::new(); questions.len()];
    for (index, window) in windows.iter().enumerate() {
        let [start, end] = [row_values(&start_logits[index]), row_values(&end_logits[index])];
        rows[window.question].push(Row { index, window, start, end });
    }
    let decode_rows = |(question, mut rows): (&Question, Vec<Row<'_>>)| {
        if config.window_score != WindowScore::Raw {
            rows.iter_mut()
                .try_for_each(|row| row.subtract_baselines(&question.id, config.window_score))?;
        }
        match config.compatible {
            None => decode_question(question, &rows, config, max_answers),
            Some(Compatible::RunQa) => decode_like_run_qa(question, &rows, config, max_answers),
        }
    };
    questions.par_iter().zip(rows).map(|pair| decode_rows(pair).map(&result)).collect()
}

/// Returns the values of a row, copied if they are not contiguous.
fn row_values<S: Data<Elem = f32>>(row: &ArrayBase<S, Ix1>) -> Cow<'_, [f32]> {
    row.as_slice().map_or_else(|| Cow::Owned(row.to_vec()), Cow::Borrowed)
}

/// Returns the `max_answers` best answers to a question.
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
        row.add_spans(k, config, &mut spans);
        let score = row.start[0] + row.end[0];
        null_score = Some(null_score.map_or(score, |lowest| lowest.min(score)));
    }
    // For nearly all questions, the best `first_count` spans contain enough distinct answers.
    let first_count = spans.len().min(max_answers.saturating_mul(4));
    if first_count < spans.len() {
        spans.select_nth_unstable_by(first_count, best_first);
    }
    let mut candidates = Vec::new();
    for count in [first_count, spans.len()] {
        let best = &mut spans[..count];
        best.sort_unstable_by(best_first);
        candidates = select_distinct(question, rows, best, max_answers)?;
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

/// Orders spans by decreasing score. No two spans compare equal, so an unstable sort is
/// deterministic.
fn best_first(a: &Span, b: &Span) -> Ordering {
    match b.score().total_cmp(&a.score()) {
        Ordering::Equal => (a.row, a.start, a.end).cmp(&(b.row, b.start, b.end)),
        other => other,
    }
}

/// Returns the answers of the first `n` spans that have distinct texts.
///
/// # Errors
/// [`Error::Window`] if a span is not inside the context.
fn select_distinct(
    question: &Question,
    rows: &[Row],
    spans: &[Span],
    n: usize,
) -> Result<Vec<Candidate>, Error> {
    let bytes = ByteIndex::new(&question.context, n);
    let mut texts: HashSet<&str, ahash::RandomState> = HashSet::default();
    let mut candidates: Vec<Candidate> = Vec::new();
    for span in spans {
        if candidates.len() == n {
            break;
        }
        let (from, to) = span.offsets(rows).expect("the tokens of a span are in the context");
        let row = &rows[span.row];
        let raw = bytes.slice(&question.context, from, to).ok_or_else(|| row.outside(to))?;
        let text = raw.trim();
        if text.is_empty() || !texts.insert(text) {
            continue;
        }
        let leading_spaces = raw.chars().count() - raw.trim_start().chars().count();
        candidates.push(span.candidate(rows, text, from + leading_spaces));
    }
    Ok(candidates)
}

/// Checks that every window belongs to one of `count` questions.
///
/// # Errors
/// [`Error::Window`].
pub(super) fn check_question_indices(windows: &[Window], count: usize) -> Result<(), Error> {
    match windows.iter().position(|window| window.question >= count) {
        Some(window) => Err(Error::Window {
            window,
            problem: format!(
                "belongs to question index {}, but there are {count} questions",
                windows[window].question
            ),
        }),
        None => Ok(()),
    }
}
