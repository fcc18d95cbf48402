//! Entity prediction: masking of some or all tokens of the mentions in a code-switched text.
use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::draw::generator;
use super::spans::{check_spans, sorted_disjoint_indices};
use super::{
    EntityPredictionConfig, MaskedExample, MaskingError, MaskingVocab, PredictionUnit, Unchanged,
    mlm_masking,
};
use crate::IGNORE_INDEX;

/// Selects mentions, or tokens of mentions, as prediction targets.
///
/// This is whole and partial entity prediction, WEP and PEP, of EntityCS (Whitehouse et al. 2022).
///
/// A unit is a mention or a token of a mention. Each unit becomes a candidate with probability
/// [`probability`](EntityPredictionConfig::probability). One draw per candidate decides whether its
/// tokens are masked, replaced by random tokens or unchanged. The number of tokens does not change.
/// Unlike [`entity_masking`](super::entity_masking()), which masks whole mentions for a contrastive
/// loss, this policy samples and labels tokens.
///
/// Interpretation: the paper's text and the released code differ on unchanged candidates
/// ([`Unchanged`]); the code's behaviour is the default. `rest` treats tokens of mentions as
/// special, so it never selects them.
///
/// # Errors
/// [`MaskingError::Span`] for a span that is empty or extends past the tokens;
/// [`MaskingError::Overlap`]; [`MaskingError::SpecialInSpan`]; [`MaskingError::Domain`] for a
/// probability or share outside 0 to 1; the errors of [`mlm_masking`] for `rest`.
///
/// # Example
/// ```
/// use objectives::masking::{
///     EntityPredictionConfig, MaskingVocab, PredictionUnit, entity_prediction_masking,
/// };
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let input_ids = [0, 11, 12, 13, 14, 2]; // <s> Nueva York never sleeps </s>
/// // WEP
/// let config = EntityPredictionConfig { unit: PredictionUnit::Mention, ..Default::default() };
/// let masked = entity_prediction_masking(&input_ids, &[1..3], &vocab, 0, &config)?;
/// assert_eq!(masked.labels, [-100, 11, 12, -100, -100, -100]);
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn entity_prediction_masking(
    input_ids: &[u32],
    spans: &[Range<usize>],
    vocab: &MaskingVocab,
    example: u64,
    config: &EntityPredictionConfig,
) -> Result<MaskedExample, MaskingError> {
    config.validate()?;
    check_spans(spans, input_ids, vocab)?;
    let order = sorted_disjoint_indices(spans)?;
    let mentions: Vec<Range<usize>> = order.into_iter().map(|index| spans[index].clone()).collect();

    let mut masked = match &config.rest {
        Some(rest) => mask_outside_mentions(input_ids, &mentions, vocab, example, rest)?,
        None => MaskedExample {
            input_ids: input_ids.to_vec(),
            labels: vec![IGNORE_INDEX; input_ids.len()],
        },
    };
    let mut rng = generator("entity prediction", config.seed, example);
    for mention in mentions {
        let size = match config.unit {
            PredictionUnit::Mention => mention.len(),
            PredictionUnit::Token => 1,
        };
        for first in mention.clone().step_by(size.max(1)) {
            if rng.random::<f64>() < config.probability {
                corrupt_candidate(&mut masked, first..first + size, vocab, config, &mut rng);
            }
        }
    }
    Ok(masked)
}

/// Corrupts and labels one candidate.
fn corrupt_candidate(
    masked: &mut MaskedExample,
    unit: Range<usize>,
    vocab: &MaskingVocab,
    config: &EntityPredictionConfig,
    rng: &mut ChaCha8Rng,
) {
    let draw: f64 = rng.random();
    let (mask_threshold, replace_threshold) =
        (config.corruption.mask, config.corruption.mask + config.corruption.random);
    let is_labelled = match config.unchanged {
        _ if draw < replace_threshold => true,
        Unchanged::Predicted => true,
        Unchanged::Half => draw < replace_threshold + (1.0 - replace_threshold) / 2.0,
        Unchanged::Ignored => false,
    };
    for position in unit {
        let (input, label) = (&mut masked.input_ids[position], &mut masked.labels[position]);
        if is_labelled {
            *label = i64::from(*input);
        }
        if draw < mask_threshold {
            *input = vocab.mask_id();
        } else if draw < replace_threshold {
            *input = vocab.random_id(rng.random_range(0..vocab.random_count()));
        }
    }
}

/// Masks tokens outside mentions with [`mlm_masking`].
fn mask_outside_mentions(
    input_ids: &[u32],
    mentions: &[Range<usize>],
    vocab: &MaskingVocab,
    example: u64,
    config: &super::MlmMaskingConfig,
) -> Result<MaskedExample, MaskingError> {
    // Mention tokens are replaced by the mask token, which is special and thus never selected.
    let mut without_mentions = input_ids.to_vec();
    for position in mentions.iter().cloned().flatten() {
        without_mentions[position] = vocab.mask_id();
    }
    let mut masked = mlm_masking(&without_mentions, vocab, example, config)?;
    for position in mentions.iter().cloned().flatten() {
        masked.input_ids[position] = input_ids[position];
    }
    Ok(masked)
}
