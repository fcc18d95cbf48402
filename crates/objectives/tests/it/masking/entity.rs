use std::ops::Range;

use objectives::masking::{MaskingError, SpanMask, entity_masking};

use super::{MASK, vocab};

const INPUT: [u32; 9] = [0, 10, 11, 12, 13, 14, 15, 16, 2];

fn mask_span(span: Range<usize>, span_mask: SpanMask) -> Result<Vec<u32>, MaskingError> {
    entity_masking(&INPUT, span, &vocab(), span_mask)
}

#[test]
fn per_token_masks_preserve_the_length_and_a_single_mask_shortens_the_example() {
    let one_per_token = mask_span(5..8, SpanMask::PerToken).unwrap();
    assert_eq!(one_per_token, [0, 10, 11, 12, 13, MASK, MASK, MASK, 2]);
    let single = mask_span(5..8, SpanMask::Single).unwrap();
    assert_eq!(single, [0, 10, 11, 12, 13, MASK, 2]);
    for span_mask in [SpanMask::PerToken, SpanMask::Single] {
        let single_token = mask_span(1..2, span_mask).unwrap();
        assert_eq!(single_token, [0, MASK, 11, 12, 13, 14, 15, 16, 2]);
    }
    assert_eq!(mask_span(1..8, SpanMask::Single).unwrap(), [0, MASK, 2]);
}

#[test]
#[allow(clippy::reversed_empty_ranges)] // one of the ranges to reject
fn invalid_spans_are_reported() {
    let error = |span| mask_span(span, SpanMask::Single).unwrap_err().to_string();
    for span in [3..3, 4..3, 8..10, 9..12] {
        let Range { start, end } = span;
        let expected = format!("spans[0] = {start}..{end}: expected start < end <= 9");
        assert!(error(span).starts_with(&expected), "{expected}");
    }
    assert!(error(0..2).starts_with("spans[0]: position 0 is the special token 0"));
}
