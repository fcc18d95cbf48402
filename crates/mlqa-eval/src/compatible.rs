//! Windows and decoding as another program has them, so that its numbers can be reproduced.
use ndarray::ArrayView1;
use serde::{Deserialize, Serialize};

use crate::decode::{ByteIndex, Row};
use crate::highest::highest;
use crate::{Candidate, DecodeConfig, EvalError, NBest, Question};

/// A program whose windows and decoding are followed step by step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compatible {
    /// `run_qa.py` and `utils_qa.py` of transformers' examples
    /// (`examples/pytorch/question-answering`), with tokenizers that pad on the right.
    ///
    /// What differs from our own way in [`windows`](crate::windows()) and
    /// [`decode`](crate::decode()):
    ///
    /// | | own way | `run_qa` |
    /// |---|---|---|
    /// | questions | cut at `max_question_length` | never cut; white space before them goes |
    /// | offsets | mended: no white space, composed marks belong to their letter | as the tokenizer has them |
    /// | a start | where its token has its maximum context | in every window |
    /// | `n_best` starts and ends | of the context | of the whole row, question, special tokens and padding too |
    /// | texts | each once, without white space around it, never empty | as often as spans have them |
    /// | equal logits | the earlier first | the later first |
    /// | no answer at all | no candidate | one whose text is `empty` |
    ///
    /// Padding has logits, too, so rows should be as long as `run_qa` pads them. It sorts with
    /// numpy, which leaves the order of equal logits open; here it is that of a stable sort.
    /// Probabilities are computed in float64, there in float32.
    ///
    /// Training windows are always our own.
    RunQa,
}

/// Tokens of a row and the context's code points that they stand for.
#[derive(Clone, Copy)]
struct Span {
    row: usize,
    start: usize,
    end: usize,
    start_logit: f32,
    end_logit: f32,
    /// `None` for `<s>`, which says that there is no answer.
    offsets: Option<(usize, usize)>,
}

impl Span {
    fn score(&self) -> f32 {
        self.start_logit + self.end_logit
    }
}

/// The answers to one question, as `postprocess_qa_predictions` has them.
pub(crate) fn run_qa_answers(
    question: &Question,
    rows: &[Row<'_>],
    config: &DecodeConfig,
) -> Result<NBest, EvalError> {
    let mut spans = Vec::new();
    let mut null: Option<Span> = None;
    for (k, row) in rows.iter().enumerate() {
        row.check(&question.id, row.start.len().max(row.end.len()))?;
        if let (Some(&start_logit), Some(&end_logit)) = (row.start.first(), row.end.first()) {
            let own = Span { row: k, start: 0, end: 0, start_logit, end_logit, offsets: None };
            if null.as_ref().is_none_or(|lowest| lowest.score() > own.score()) {
                null = Some(own);
            }
        }
        add_spans(k, row, config, &mut spans);
    }
    let null_score = null.as_ref().map(Span::score);
    let lowest = null.filter(|_| config.allow_null.is_some());
    spans.extend(lowest);
    keep_best(&mut spans, config.n_best);
    let says_null = |span: &Span| span.offsets.is_none_or(|offsets| offsets == (0, 0));
    if !spans.iter().any(says_null) {
        spans.extend(lowest);
    }
    let candidates = candidates(question, rows, &spans);
    let null = says_nothing(&candidates, null_score, config);
    Ok(NBest { id: question.id.clone(), candidates, null_score, null })
}

/// The `n` highest scores, the highest first; of equals the pair that was made first, as Python's
/// stable sort has it.
fn keep_best(spans: &mut Vec<Span>, n: usize) {
    let scores = spans.iter().map(Span::score).enumerate();
    let best = highest(scores, n, |later, earlier| later > earlier);
    *spans = best.iter().filter_map(|&(k, _)| spans.get(k).copied()).collect();
}

fn add_spans(k: usize, row: &Row<'_>, config: &DecodeConfig, spans: &mut Vec<Span>) {
    // Of equals the last comes first.
    let best = |logits: &ArrayView1<'_, f32>| {
        highest(logits.iter().copied().enumerate(), config.n_best, |later, earlier| {
            later >= earlier
        })
        .into_iter()
        .filter_map(|(at, logit)| {
            let within = at.checked_sub(row.window.context_start)?;
            Some((at, logit, *row.window.offsets.get(within)?))
        })
        .collect::<Vec<_>>()
    };
    let ends = best(&row.end);
    for (start, start_logit, (from, _)) in best(&row.start) {
        for &(end, end_logit, (_, to)) in &ends {
            if start <= end && end - start < config.max_answer_length {
                let offsets = Some((from, to));
                spans.push(Span { row: k, start, end, start_logit, end_logit, offsets });
            }
        }
    }
}

fn candidates(question: &Question, rows: &[Row<'_>], spans: &[Span]) -> Vec<Candidate> {
    let bytes = ByteIndex::new(&question.context);
    let mut candidates: Vec<Candidate> = spans
        .iter()
        .map(|span| {
            let (from, to) = span.offsets.unwrap_or((0, 0));
            Candidate {
                text: bytes.slice(&question.context, from, to).to_owned(),
                score: span.score(),
                probability: 0.0,
                start_logit: span.start_logit,
                end_logit: span.end_logit,
                window: rows.get(span.row).map_or(0, |row| row.index),
                start: span.start,
                end: span.end,
                answer_start: from,
            }
        })
        .collect();
    let nothing = match candidates.as_slice() {
        [] => true,
        [only] => only.text.is_empty(),
        _ => false,
    };
    if nothing {
        let window = rows.first().map_or(0, |row| row.index);
        let text = "empty".to_owned();
        let (score, probability, start_logit, end_logit) = (0.0, 0.0, 0.0, 0.0);
        let (start, end, answer_start) = (0, 0, 0);
        candidates.insert(
            0,
            Candidate {
                text,
                score,
                probability,
                start_logit,
                end_logit,
                window,
                start,
                end,
                answer_start,
            },
        );
    }
    softmax(&mut candidates);
    candidates
}

/// Over all candidates; the highest need not be the first where `empty` was put there.
fn softmax(candidates: &mut [Candidate]) {
    let scores = || candidates.iter().map(|one| f64::from(one.score));
    let highest = scores().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores().map(|score| (score - highest).exp()).sum();
    for candidate in candidates {
        candidate.probability = (f64::from(candidate.score) - highest).exp() / total;
    }
}

/// Whether the answer is "": chosen by the threshold, or the text of the first span where nobody
/// asked for it.
fn says_nothing(candidates: &[Candidate], null_score: Option<f32>, config: &DecodeConfig) -> bool {
    let solid = candidates.iter().find(|candidate| !candidate.text.is_empty());
    match (config.allow_null, null_score, solid) {
        (None, ..) => candidates.first().is_none_or(|first| first.text.is_empty()),
        (Some(threshold), Some(null), Some(best)) => {
            null - best.start_logit - best.end_logit > threshold
        }
        _ => true,
    }
}
