//! Masked random spans, the baseline of masked phrases.
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::draw::{budget, corrupt, generator};
use super::{Masked, MaskingError, MaskingVocab, NgramMaskingConfig};

/// Masks random spans of 1 to 4 tokens until 15 % of the tokens are selected ("Random N-gram
/// Masking" of Yuan et al. 2020, Table 8, the counterpart of
/// [`phrase_masking`](super::phrase_masking) without knowledge).
///
/// Spans do not overlap, and hold no special token. All of the budget is used: exactly m ·
/// `probability` tokens are selected, to the nearest whole number, with m the tokens that are not
/// special.
///
/// Reading: the paper names neither lengths nor positions. A length is drawn uniformly from 1 to
/// `max_tokens`, cut to what is left of the budget, then a position uniformly among those where
/// such a span is still free; if there is none, the length is reduced by one. Lengths are in
/// tokens, as the budget is.
///
/// # Errors
/// [`MaskingError::Domain`] for a probability or share outside 0 to 1, or `max_tokens` 0.
///
/// # Example
/// ```
/// use objectives::masking::{MaskingVocab, NgramMaskingConfig, ngram_masking};
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let passage: Vec<u32> = [0].into_iter().chain(10..50).chain([2]).collect();
/// let masked = ngram_masking(&passage, &vocab, 0, &NgramMaskingConfig::default())?;
/// assert_eq!(masked.selected().count(), 6); // 15 % of 40
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn ngram_masking(
    input_ids: &[u32],
    vocab: &MaskingVocab,
    example: u64,
    config: &NgramMaskingConfig,
) -> Result<Masked, MaskingError> {
    config.validate()?;
    let candidates = vocab.candidates(input_ids);
    let mut free: Vec<bool> = input_ids.iter().map(|id| !vocab.is_special(*id)).collect();
    let mut left = budget(config.probability, candidates.len());
    let mut rng = generator("ngram", config.seed, example);
    let mut selected = Vec::with_capacity(left);
    while left > 0 {
        let drawn = rng.random_range(1..=config.max_tokens).min(left);
        let Some((start, length)) = free_span(&free, drawn, &mut rng) else { break };
        for (at, free) in free.iter_mut().enumerate().skip(start).take(length) {
            *free = false;
            selected.push(at);
        }
        left -= length;
    }
    selected.sort_unstable();
    Ok(corrupt(input_ids, selected, vocab, &config.corruption, &mut rng))
}

/// Start and length of a random span of `length` free positions, or of fewer if there is none.
fn free_span(free: &[bool], length: usize, rng: &mut ChaCha8Rng) -> Option<(usize, usize)> {
    (1..=length).rev().find_map(|length| {
        let windows = free.windows(length).enumerate();
        let starts: Vec<usize> =
            windows.filter(|(_, span)| span.iter().all(|free| *free)).map(|(at, _)| at).collect();
        let pick = (!starts.is_empty()).then(|| rng.random_range(0..starts.len()))?;
        Some((*starts.get(pick)?, length))
    })
}
