//! Decodes answers like transformers' `run_qa`; see
//! [`Compatible::RunQa`](crate::Compatible::RunQa).
use super::highest::select_top;
use super::spans::{ByteIndex, Row, Span, pair_spans, softmax};
use crate::{Candidate, DecodeConfig, Error, NBest, Question};

/// Decodes the answers to one question like `postprocess_qa_predictions`. If `max_answers` is less
/// than `n_best`, the list may have only the first answer.
pub(crate) fn decode_like_run_qa(
    question: &Question,
    rows: &[Row<'_>],
    config: &DecodeConfig,
    max_answers: usize,
) -> Result<NBest, Error> {
    let mut spans = Vec::new();
    let mut lowest_null: Option<Span> = None;
    for (k, row) in rows.iter().enumerate() {
        row.check(&question.id, row.start.len().max(row.end.len()))?;
        let (start_logit, end_logit) = (row.start[0], row.end[0]);
        let span = Span { row: k, start: 0, end: 0, start_logit, end_logit };
        if lowest_null.as_ref().is_none_or(|lowest| lowest.score() > span.score()) {
            lowest_null = Some(span);
        }
        add_spans(k, row, config, &mut spans);
    }
    let null_score = lowest_null.as_ref().map(Span::score);
    let null_span = lowest_null.filter(|_| config.allow_null.is_some());
    spans.extend(null_span);
    let build_list = |candidates: Vec<Candidate>| {
        let null = predicts_no_answer(&candidates, null_score, config);
        NBest { id: question.id.clone(), candidates, null_score, null }
    };
    let bytes = ByteIndex::new(&question.context, max_answers);
    let candidate = |span: &Span| {
        // Only the null span is outside the context. It has no text.
        let (from, to) = span.offsets(rows).unwrap_or((0, 0));
        let text = bytes.slice(&question.context, from, to);
        Ok(span.candidate(rows, text.ok_or_else(|| rows[span.row].outside(to))?, from))
    };
    if max_answers < config.n_best
        && let Some(first) = select_best(&spans, 1).first().map(candidate).transpose()?
        && !first.text.is_empty()
    {
        return Ok(build_list(vec![first]));
    }
    let mut spans = select_best(&spans, config.n_best);
    let is_null = |span: &Span| span.offsets(rows).is_none_or(|offsets| offsets == (0, 0));
    if !spans.iter().any(is_null) {
        spans.extend(null_span);
    }
    let mut candidates: Vec<Candidate> =
        spans.iter().map(candidate).collect::<Result<_, Error>>()?;
    insert_empty_candidate(&mut candidates, rows);
    softmax(&mut candidates);
    Ok(build_list(candidates))
}

/// Returns the `n` spans with the highest scores, in decreasing order; equal scores retain their
/// order, as in Python's stable sort.
fn select_best(spans: &[Span], n: usize) -> Vec<Span> {
    let scores: Vec<f32> = spans.iter().map(Span::score).collect();
    let best = select_top(&scores, n, |later, earlier| later > earlier);
    best.iter().map(|&(k, _)| spans[k]).collect()
}

fn add_spans(k: usize, row: &Row<'_>, config: &DecodeConfig, spans: &mut Vec<Span>) {
    // If logits are equal, the last one has the highest rank.
    let best = |logits: &[f32]| {
        let mut best = select_top(logits, config.n_best, |later, earlier| later >= earlier);
        best.retain(|&(at, _)| row.offsets(at).is_some());
        best
    };
    spans.extend(pair_spans(k, &best(&row.start), &best(&row.end), config.max_answer_length));
}

/// Inserts a candidate with the text `empty` if there are no candidates, or only one without text.
fn insert_empty_candidate(candidates: &mut Vec<Candidate>, rows: &[Row<'_>]) {
    let has_no_text = match candidates.as_slice() {
        [] => true,
        [only] => only.text.is_empty(),
        _ => false,
    };
    if has_no_text {
        let window = rows.first().map_or(0, |row| row.index); // 0 without windows
        candidates.insert(0, Candidate { text: "empty".into(), window, ..Candidate::default() });
    }
}

/// Returns whether the answer is "". With a threshold, this is the case if the null score exceeds
/// the best answer's score by more than the threshold. Without a threshold, this is the case if the
/// first candidate has no text.
fn predicts_no_answer(
    candidates: &[Candidate],
    null_score: Option<f32>,
    config: &DecodeConfig,
) -> bool {
    let best_candidate = candidates.iter().find(|candidate| !candidate.text.is_empty());
    match (config.allow_null, null_score, best_candidate) {
        (None, ..) => candidates.first().is_none_or(|first| first.text.is_empty()),
        (Some(threshold), Some(null), Some(best)) => {
            null - best.start_logit - best.end_logit > threshold
        }
        _ => true,
    }
}
