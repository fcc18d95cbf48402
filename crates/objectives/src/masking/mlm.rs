//! Masked language modelling.
use rand::Rng;
use rand::seq::SliceRandom;

use super::draw::{corrupt, generator, random_budget};
use super::{MaskedExample, MaskingError, MaskingVocab, MlmMaskingConfig, TokenSelection};

/// Masks 15 % of an example's tokens at random (BERT, Devlin et al. 2019, §3.1).
///
/// 80 % of the selected tokens are replaced by the mask token, 10 % are replaced by a random token,
/// and 10 % stay unchanged. The draws depend on the seed and on `example`. For RoBERTa's dynamic
/// masking, pass a new `example` number in every epoch.
///
/// Special tokens and padding are never selected, and never drawn as replacements.
///
/// Interpretation: papers state "15 %" without a rounding rule; [`TokenSelection`] has the two common
/// rules. With either rule a short example may have no label.
///
/// # Errors
/// [`MaskingError::Domain`] for a probability or share outside 0 to 1.
///
/// # Example
/// ```
/// use objectives::masking::{MaskingVocab, MlmMaskingConfig, mlm_masking};
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let input_ids = [0, 11, 12, 13, 2]; // <s> trans lation s </s>
/// let config = MlmMaskingConfig { probability: 1.0, ..Default::default() };
/// assert_eq!(mlm_masking(&input_ids, &vocab, 0, &config)?.labels, [-100, 11, 12, 13, -100]);
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn mlm_masking(
    input_ids: &[u32],
    vocab: &MaskingVocab,
    example: u64,
    config: &MlmMaskingConfig,
) -> Result<MaskedExample, MaskingError> {
    config.validate()?;
    let mut candidates = vocab.candidates(input_ids);
    let mut rng = generator("mlm", config.seed, example);
    match config.selection {
        TokenSelection::Count => {
            let count = random_budget(config.probability, candidates.len(), &mut rng);
            candidates.partial_shuffle(&mut rng, count);
            // `partial_shuffle` puts the drawn elements at the end.
            candidates.drain(..candidates.len() - count);
            candidates.sort_unstable();
        }
        TokenSelection::Independent => {
            candidates.retain(|_| rng.random::<f64>() < config.probability)
        }
    }
    Ok(corrupt(input_ids, candidates, vocab, &config.corruption, &mut rng))
}
