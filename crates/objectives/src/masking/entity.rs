//! Masked entities: of a linked text, or of a triple.
use std::ops::Range;

use rand::seq::index;

use super::draw::generator;
use super::spans::{check_disjoint, check_spans};
use super::{EntityMaskingConfig, MaskingError, MaskingVocab, MentionChoice, SpanMask, Tokens};
use super::{Masked, mlm_masking};
use crate::IGNORE_INDEX;

/// Query position of a masked mention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MentionQuery {
    /// Index in the given spans.
    pub mention: usize,
    /// First position of the mention in the masked example, which holds the mask token.
    pub position: usize,
}

/// An example with masked mentions; all vectors but `queries` have its length, which
/// [`SpanMask::Single`] shortens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntityMasked {
    /// Input of the encoder.
    pub input_ids: Vec<u32>,
    /// The original token at positions that carry loss, [`IGNORE_INDEX`] elsewhere.
    pub labels: Vec<i64>,
    /// The span's index at the positions of masked mentions, −1 elsewhere: the entity ids of
    /// [`entity_completion`](crate::entity_completion()).
    pub mentions: Vec<i64>,
    /// The masked mentions in order of position.
    pub queries: Vec<MentionQuery>,
}

/// Masks mentions of entities with all their tokens.
///
/// Sources: XLM-K (Jiang et al. 2022, §3.2, where the hidden state at the mention's first position
/// is the query of Eq. 1) and the completion of triples of *Bridging the Language Gap* (Eq. 2).
///
/// Reading: XLM-K's text replaces "the mention" by a mask and uses one state of it, which allows a
/// mask per token ([`SpanMask::PerToken`], default) or a single mask. The text does not state that
/// masked tokens are predicted, so `targets` is off. `rest` is also off, because Eq. 6 has masked
/// language modelling on a separate corpus (the authors' code computes it on the same text).
///
/// `rest` runs [`mlm_masking`] on the example after its mentions were masked; it treats their mask
/// tokens as special.
///
/// # Errors
/// [`MaskingError::Span`] for a span that is empty or reaches past the tokens;
/// [`MaskingError::Overlap`]; [`MaskingError::SpecialInSpan`]; [`MaskingError::WordIds`]; those of
/// [`mlm_masking`] for `rest`.
///
/// # Example
/// ```
/// use objectives::masking::{EntityMaskingConfig, MaskingVocab, SpanMask, entity_masking};
///
/// let vocab = MaskingVocab::new([0, 1, 2, 3], 99, 0..100)?;
/// let input_ids = [0, 11, 12, 13, 14, 2]; // <s> New York never sleeps </s>
/// let config = EntityMaskingConfig { span_mask: SpanMask::Single, ..Default::default() };
/// let masked = entity_masking((&input_ids).into(), &[1..3], &vocab, 0, &config)?;
/// assert_eq!(masked.input_ids, [0, 99, 13, 14, 2]);
/// assert_eq!((masked.queries[0].mention, masked.queries[0].position), (0, 1));
/// # Ok::<(), objectives::masking::MaskingError>(())
/// ```
pub fn entity_masking(
    tokens: Tokens<'_>,
    spans: &[Range<usize>],
    vocab: &MaskingVocab,
    example: u64,
    config: &EntityMaskingConfig,
) -> Result<EntityMasked, MaskingError> {
    tokens.units(vocab, false)?; // its check of the word ids
    check_spans(spans, tokens.input_ids, vocab)?;
    let mut order = check_disjoint(spans)?;
    if let MentionChoice::Count { count } = config.mentions {
        let mut rng = generator("entity", config.seed, example);
        let mut drawn = index::sample(&mut rng, order.len(), count.min(order.len())).into_vec();
        // The draw is of span numbers, so that it does not depend on their positions.
        drawn.sort_unstable();
        order.retain(|number| drawn.binary_search(number).is_ok());
    }

    let mut draft = Draft::default();
    let mut from = 0;
    for mention in order {
        let Some(span) = spans.get(mention) else { continue };
        draft.keep(tokens, from..span.start);
        draft.hide(tokens, mention, span.clone(), vocab.mask_id(), config);
        from = span.end;
    }
    draft.keep(tokens, from..tokens.input_ids.len());
    let Draft { mut masked, word_ids } = draft;
    if let Some(rest) = &config.rest {
        let word_ids = tokens.word_ids.map(|_| word_ids.as_slice());
        let tokens = Tokens { input_ids: &masked.input_ids, word_ids };
        let Masked { input_ids, labels } = mlm_masking(tokens, vocab, example, rest)?;
        masked.input_ids = input_ids;
        for (label, other) in masked.labels.iter_mut().zip(labels) {
            if *label == IGNORE_INDEX {
                *label = other;
            }
        }
    }
    Ok(masked)
}

/// The masked example in the making.
struct Draft {
    masked: EntityMasked,
    word_ids: Vec<Option<u32>>,
}

impl Default for Draft {
    fn default() -> Self {
        let masked = EntityMasked {
            input_ids: Vec::new(),
            labels: Vec::new(),
            mentions: Vec::new(),
            queries: Vec::new(),
        };
        Self { masked, word_ids: Vec::new() }
    }
}

impl Draft {
    fn keep(&mut self, tokens: Tokens<'_>, span: Range<usize>) {
        let kept = tokens.input_ids.get(span.clone()).unwrap_or_default();
        for (at, id) in span.zip(kept) {
            self.push(*id, IGNORE_INDEX, -1);
            self.word_ids.push(tokens.word_ids.and_then(|words| words.get(at).copied().flatten()));
        }
    }

    fn hide(
        &mut self,
        tokens: Tokens<'_>,
        mention: usize,
        span: Range<usize>,
        mask_id: u32,
        config: &EntityMaskingConfig,
    ) {
        let number = i64::try_from(mention).unwrap_or(i64::MAX);
        self.masked.queries.push(MentionQuery { mention, position: self.masked.input_ids.len() });
        let hidden = tokens.input_ids.get(span).unwrap_or_default();
        match (config.span_mask, hidden) {
            (SpanMask::Single, [_, _, ..]) => self.push(mask_id, IGNORE_INDEX, number),
            (SpanMask::Single | SpanMask::PerToken, hidden) => {
                for id in hidden {
                    self.push(
                        mask_id,
                        if config.targets { i64::from(*id) } else { IGNORE_INDEX },
                        number,
                    );
                }
            }
        }
        self.word_ids.resize(self.masked.input_ids.len(), None);
    }

    fn push(&mut self, input: u32, label: i64, mention: i64) {
        self.masked.input_ids.push(input);
        self.masked.labels.push(label);
        self.masked.mentions.push(mention);
    }
}
