//! Spans of token positions, and their validation.
use std::ops::Range;

use super::{MaskingError, MaskingVocab};

/// Rejects spans that are empty, extend past the tokens, or cover a special token.
pub(super) fn check_spans(
    spans: &[Range<usize>],
    input_ids: &[u32],
    vocab: &MaskingVocab,
) -> Result<(), MaskingError> {
    let length = input_ids.len();
    for (index, span) in spans.iter().enumerate() {
        let tokens = input_ids.get(span.clone()).filter(|tokens| !tokens.is_empty());
        let Some(tokens) = tokens else {
            let Range { start, end } = *span;
            return Err(MaskingError::Span { span: index, start, end, length });
        };
        for (position, id) in span.clone().zip(tokens) {
            if vocab.is_special(*id) {
                return Err(MaskingError::SpecialInSpan { span: index, position, id: *id });
            }
        }
    }
    Ok(())
}

/// Returns the indices of `spans` ordered by position; overlapping spans are an error.
pub(super) fn sorted_disjoint_indices(spans: &[Range<usize>]) -> Result<Vec<usize>, MaskingError> {
    let mut order: Vec<(&Range<usize>, usize)> = spans.iter().zip(0..).collect();
    order.sort_unstable_by_key(|(span, index)| (span.start, span.end, *index));
    for pair in order.windows(2) {
        if let [(first_range, first), (second_range, second)] = pair
            && second_range.start < first_range.end
        {
            return Err(MaskingError::Overlap {
                first: *first,
                first_range: (*first_range).clone(),
                second: *second,
                second_range: (*second_range).clone(),
            });
        }
    }
    Ok(order.into_iter().map(|(_, index)| index).collect())
}

/// Merges overlapping spans, and returns them in ascending order. Adjacent spans are not merged.
pub(super) fn merge_overlapping(spans: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut sorted = spans.to_vec();
    sorted.sort_unstable_by_key(|span| (span.start, span.end));
    let mut merged: Vec<Range<usize>> = Vec::new();
    for span in sorted {
        match merged.last_mut() {
            Some(last) if span.start < last.end => last.end = last.end.max(span.end),
            _ => merged.push(span),
        }
    }
    merged
}
