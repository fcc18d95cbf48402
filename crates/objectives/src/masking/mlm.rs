//! Masked language modelling.
use rand::Rng;
use rand::seq::SliceRandom;

use super::draw::{corrupt, generator, random_budget};
use super::{Masked, MaskingError, MaskingVocab, MlmMaskingConfig, Selection, Tokens};

/// Masks 15 % of an example's tokens at random: 80 % become the mask token, 10 % a random token, 10
/// % stay.
///
/// (BERT, Devlin et al. 2019, §3.1; RoBERTa's dynamic form, drawn again for each `example` number).
///
/// Special tokens and padding are never selected and never drawn. With `whole_words` a word is
/// selected with all its tokens, and the probability counts words; each token is still corrupted by
/// a separate draw.
///
/// Reading: papers say "15 %" and leave the rounding open; [`Selection`] has the two usual ones. A
/// short example may have no label at all under either.
///
/// # Errors
/// [`MaskingError::Domain`] for a probability or share outside 0 to 1; [`MaskingError::WordIds`] if
/// the word ids are not as many as the tokens, or missing under `whole_words`.
///
/// # Example
/// ```
/// use objectives::masking::{MaskingVocab, MlmMaskingConfig, Tokens, mlm_masking};
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let input_ids = [0, 11, 12, 13, 2]; // <s> trans lation s </s>
/// let word_ids = [None, Some(0), Some(0), Some(0), None];
/// let config = MlmMaskingConfig { probability: 1.0, whole_words: true, ..Default::default() };
/// let tokens = Tokens { input_ids: &input_ids, word_ids: Some(&word_ids) };
/// assert_eq!(mlm_masking(tokens, &vocab, 0, &config)?.labels, [-100, 11, 12, 13, -100]);
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn mlm_masking(
    tokens: Tokens<'_>,
    vocab: &MaskingVocab,
    example: u64,
    config: &MlmMaskingConfig,
) -> Result<Masked, MaskingError> {
    config.validate()?;
    let mut units = tokens.units(vocab, config.whole_words)?;
    let mut rng = generator("mlm", config.seed, example);
    match config.selection {
        Selection::Count => {
            let count = random_budget(config.probability, units.len(), &mut rng);
            units.partial_shuffle(&mut rng, count);
            // `partial_shuffle` leaves what it drew at the end.
            units.drain(..units.len() - count);
            units.sort_unstable_by_key(|unit| unit.start);
        }
        Selection::Independent => units.retain(|_| rng.random::<f64>() < config.probability),
    }
    let positions = units.into_iter().flatten();
    Ok(corrupt(tokens.input_ids, positions, vocab, &config.corruption, &mut rng))
}
