//! Masking of random spans, the baseline for phrase masking.
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::draw::{budget, corrupt, generator};
use super::{MaskedExample, MaskingError, MaskingVocab, NgramMaskingConfig};

/// Masks random spans of 1 to 4 tokens until 15 % of the tokens are selected.
///
/// This is "Random N-gram Masking" of Yuan et al. 2020, Table 8: the baseline for
/// [`phrase_masking`](super::phrase_masking) that does not use knowledge phrases.
///
/// Spans do not overlap and contain no special token. The number of selected tokens is exactly m ·
/// `probability`, rounded to the nearest integer, where m is the number of tokens that are not
/// special.
///
/// Interpretation: the paper specifies neither lengths nor positions. A length in tokens is drawn
/// uniformly from 1 to `max_tokens`, and limited to the number of tokens that remain to be
/// selected. Then a span is drawn uniformly among the free spans of this length. If no such span is
/// free, the length is reduced by one.
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
) -> Result<MaskedExample, MaskingError> {
    config.validate()?;
    let candidates = vocab.candidates(input_ids);
    let mut is_free: Vec<bool> = input_ids.iter().map(|id| !vocab.is_special(*id)).collect();
    let mut remaining_tokens = budget(config.probability, candidates.len());
    let mut rng = generator("ngram", config.seed, example);
    let mut selected = Vec::with_capacity(remaining_tokens);
    while remaining_tokens > 0 {
        let drawn_length = rng.random_range(1..=config.max_tokens).min(remaining_tokens);
        let Some((start, length)) = free_span(&is_free, drawn_length, &mut rng) else { break };
        for (position, is_free) in is_free.iter_mut().enumerate().skip(start).take(length) {
            *is_free = false;
            selected.push(position);
        }
        remaining_tokens -= length;
    }
    selected.sort_unstable();
    Ok(corrupt(input_ids, selected, vocab, &config.corruption, &mut rng))
}

/// Returns the start and length of a random span of `length` free positions. If no such span
/// exists, shorter lengths are tried.
fn free_span(is_free: &[bool], length: usize, rng: &mut ChaCha8Rng) -> Option<(usize, usize)> {
    (1..=length).rev().find_map(|length| {
        let windows = is_free.windows(length).enumerate();
        let starts: Vec<usize> = windows
            .filter(|(_, span)| span.iter().all(|is_free| *is_free))
            .map(|(position, _)| position)
            .collect();
        let index = (!starts.is_empty()).then(|| rng.random_range(0..starts.len()))?;
        Some((starts[index], length))
    })
}
