//! Masking of one entity mention in a tokenised text.
use std::ops::Range;

use super::spans::check_spans;
use super::{MaskingError, MaskingVocab, SpanMask};

/// Masks all tokens of an entity mention, and returns the input ids of the example.
///
/// The mention's first position stays at `span.start`. [`SpanMask::Single`] shortens the example.
///
/// Source: XLM-K (Jiang et al. 2022, §3.2), where the hidden state at the mention's first position
/// is the query of Eq. 1.
///
/// Interpretation: XLM-K replaces "the mention" by a mask. This can mean one mask per token
/// ([`SpanMask::PerToken`], the default) or a single mask ([`SpanMask::Single`]). The paper does
/// not state that masked tokens are predicted, so this function returns no labels.
///
/// # Errors
/// [`MaskingError::Span`] for a span that is empty or extends past the tokens;
/// [`MaskingError::SpecialInSpan`].
///
/// # Example
/// ```
/// use objectives::masking::{MaskingVocab, SpanMask, entity_masking};
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let input_ids = [0, 11, 12, 13, 14, 2]; // <s> New York never sleeps </s>
/// let masked = entity_masking(&input_ids, 1..3, &vocab, SpanMask::Single)?;
/// assert_eq!(masked, [0, 99, 13, 14, 2]);
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn entity_masking(
    input_ids: &[u32],
    span: Range<usize>,
    vocab: &MaskingVocab,
    span_mask: SpanMask,
) -> Result<Vec<u32>, MaskingError> {
    check_spans(std::slice::from_ref(&span), input_ids, vocab)?;
    let mask_count = match span_mask {
        SpanMask::PerToken => span.len(),
        SpanMask::Single => 1,
    };
    let mut masked = input_ids.to_vec();
    masked.splice(span, std::iter::repeat_n(vocab.mask_id(), mask_count));
    Ok(masked)
}
