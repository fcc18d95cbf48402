//! Masking of knowledge phrases.
use std::ops::Range;

use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use super::draw::{budget, corrupt, generator};
use super::spans::{check_spans, merge_overlapping};
use super::{MaskedExample, MaskingError, MaskingVocab, PhraseMaskingConfig};

/// Masks the knowledge phrases of a passage, then random tokens until 15 % are selected.
///
/// This is LAKM (Yuan et al. 2020, §3.2 and §4.3, the loss of Eq. 2). Of the selected tokens, 80 %
/// are replaced by the mask token, 10 % are replaced by a random token, and 10 % stay unchanged.
///
/// Let m be the number of tokens that are not special, let K be the number of these tokens in
/// phrases, and let the budget T be m · `probability`, rounded to the nearest integer. Then max(K,
/// T) tokens are selected. Phrases may overlap or contain each other; each position counts once.
///
/// Interpretation: the paper masks 15 % of the tokens, starting with phrases. It does not define
/// what happens if more than 15 % of the tokens are in phrases. Here all phrase tokens are
/// selected, unless `cap` limits their share of m. With a cap, overlapping phrases count as one.
/// Complete phrases are selected in random order, and a phrase that would exceed the cap is
/// skipped. Tokens of skipped phrases are drawn only if there are too few tokens outside phrases to
/// fill the budget.
///
/// # Errors
/// [`MaskingError::Domain`] for a probability, cap or share outside 0 to 1; [`MaskingError::Span`]
/// for a phrase that is empty or extends past the tokens; [`MaskingError::SpecialInSpan`].
///
/// # Example
/// ```
/// use objectives::masking::{MaskingVocab, PhraseMaskingConfig, phrase_masking};
///
/// let vocab = MaskingVocab::new([101, 102], 103, 0..200)?;
/// let passage = [101, 11, 12, 13, 14, 15, 102]; // [CLS] the cherry tree of Washington [SEP]
/// let config = PhraseMaskingConfig::default();
/// let masked = phrase_masking(&passage, &[2..4], &vocab, 0, &config)?;
/// assert_eq!(masked.labels, [-100, -100, 12, 13, -100, -100, -100]);
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn phrase_masking(
    input_ids: &[u32],
    phrases: &[Range<usize>],
    vocab: &MaskingVocab,
    example: u64,
    config: &PhraseMaskingConfig,
) -> Result<MaskedExample, MaskingError> {
    config.validate()?;
    check_spans(phrases, input_ids, vocab)?;
    let candidates: Vec<usize> = vocab.candidates(input_ids);
    let phrases = merge_overlapping(phrases);

    let mut rng = generator("phrase", config.seed, example);
    let (selected_phrases, skipped_phrases) = match config.cap {
        Some(cap) => select_phrases(phrases.clone(), budget(cap, candidates.len()), &mut rng),
        None => (phrases.clone(), Vec::new()),
    };
    let mut selected: Vec<usize> = selected_phrases.into_iter().flatten().collect();
    // Phrases may use up the budget of random tokens.
    let random_count = budget(config.probability, candidates.len()).saturating_sub(selected.len());
    let in_phrases: Vec<usize> = phrases.into_iter().flatten().collect();
    let outside_phrases = candidates
        .into_iter()
        .filter(|position| in_phrases.binary_search(position).is_err())
        .collect();
    let skipped_tokens = skipped_phrases.into_iter().flatten().collect();
    let mut remaining_count = random_count;
    for mut pool in [outside_phrases, skipped_tokens] as [Vec<usize>; 2] {
        let count = remaining_count.min(pool.len());
        let (drawn, _) = pool.partial_shuffle(&mut rng, count);
        selected.extend_from_slice(drawn);
        remaining_count -= count;
    }
    selected.sort_unstable();
    Ok(corrupt(input_ids, selected, vocab, &config.corruption, &mut rng))
}

/// Selects phrases in random order and skips phrases that exceed the remaining budget of
/// `max_tokens`. Returns the selected and the skipped phrases.
fn select_phrases(
    mut phrases: Vec<Range<usize>>,
    max_tokens: usize,
    rng: &mut ChaCha8Rng,
) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    phrases.shuffle(rng);
    let mut remaining_tokens = max_tokens;
    phrases.into_iter().partition(|phrase| {
        let is_selected = phrase.len() <= remaining_tokens;
        if is_selected {
            remaining_tokens -= phrase.len();
        }
        is_selected
    })
}
