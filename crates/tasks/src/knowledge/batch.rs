//! The rows of a step, and the hidden states that stand for them.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Language;
use kg_triples::knowledge::{EntailmentExample, MentionExample};
use objectives::IGNORE_INDEX;
use objectives::masking::{EntityMaskingConfig, Masked, MaskingVocab, entity_masking};
use tch::Tensor;
use trainer::ExampleRecord;

use super::MentionMasking;
use crate::pooling::{Pooling, at_positions, encode, pooled};
use crate::{Encoder, Error, Result};

/// The languages of mentions and descriptions as domains of domain-specific batch norm, see
/// [`batch_norm_domains`](xlmr_model::KnowledgeConfig::batch_norm_domains).
///
/// # Example
/// ```
/// use tasks::knowledge::LanguageDomains;
///
/// let domains = LanguageDomains::of(&["en".parse()?, "de".parse()?].into());
/// assert_eq!((domains.count(), domains.ids(["en".parse()?])?), (2, vec![1]));
/// assert!(domains.ids(["fr".parse()?]).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanguageDomains(BTreeMap<Language, usize>);

impl LanguageDomains {
    /// These languages, in alphabetical order.
    pub fn of(languages: &BTreeSet<Language>) -> Self {
        Self(languages.iter().copied().zip(0..).collect())
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The domain of each row, in `0..count`, from the row's language.
    ///
    /// # Errors
    /// [`Error::Data`] naming a language that did not occur.
    pub fn ids(&self, languages: impl IntoIterator<Item = Language>) -> Result<Vec<usize>> {
        let id = |language: Language| {
            self.0.get(&language).copied().ok_or_else(|| {
                let known = self.0.keys().map(Language::as_str).collect::<Vec<_>>().join(", ");
                Error::data("language of a row", format!("one of {known}"), language)
            })
        };
        languages.into_iter().map(id).collect()
    }
}

/// The domains of rows in these languages; empty, which means one domain for all, without
/// `domains`.
pub(super) fn domain_ids(
    domains: Option<&LanguageDomains>,
    languages: impl IntoIterator<Item = Language>,
) -> Result<Vec<usize>> {
    domains.map_or_else(|| Ok(Vec::new()), |domains| domains.ids(languages))
}

/// The domains of triples: one, since in a batch a language has too few of them to be normalised by
/// themselves.
pub(super) fn one_domain(norm_by_language: bool, rows: usize) -> Vec<usize> {
    if norm_by_language { vec![0; rows] } else { Vec::new() }
}

/// A passage whose mention is masked.
pub(super) struct MaskedMention {
    /// Token ids of the passage, `[L]`.
    pub(super) input_ids: Vec<u32>,
    /// Where the mention begins, below L.
    pub(super) position: usize,
}

/// The passage with its mention masked.
pub(super) fn mask_mention(
    example: &MentionExample,
    vocab: &MaskingVocab,
    config: &MentionMasking,
) -> Result<MaskedMention> {
    let config =
        EntityMaskingConfig { span_mask: config.span_mask, ..EntityMaskingConfig::default() };
    let span = example.mention.start..example.mention.end;
    let tokens = (&example.input_ids).into();
    let masked = entity_masking(tokens, &[span], vocab, example.passage, &config)?;
    let position =
        masked.queries.first().map(|query| query.position).ok_or_else(|| {
            Error::data(format!("passage {}", example.passage), "a mention", "none")
        })?;
    Ok(MaskedMention { input_ids: masked.input_ids, position })
}

/// A masked mention and the description of its entity.
pub(super) struct MentionPair {
    pub(super) mention: MaskedMention,
    /// Token ids of the description.
    pub(super) description_ids: Vec<u32>,
}

/// The examples of a step: b mentions, and as many triples. A loss with weight 0 has no rows.
#[derive(Default)]
pub(super) struct Batch {
    /// b passages with random tokens masked, or none.
    pub(super) mlm: Vec<Masked>,
    /// b descriptions with random tokens masked, or none.
    pub(super) description_mlm: Vec<Masked>,
    /// b mentions with their descriptions, or none.
    pub(super) mentions: Vec<MentionPair>,
    /// A number for the entity of each of the b mentions, equal for equal entities.
    pub(super) entities: Vec<i64>,
    /// For each of the b mentions the group that it is contrasted in: an index of the queues.
    pub(super) groups: Vec<usize>,
    /// The batch-norm domain of each of the b mentions; empty where there is one domain.
    pub(super) mention_domains: Vec<usize>,
    /// The same for the b descriptions.
    pub(super) description_domains: Vec<usize>,
    /// b triples, or none.
    pub(super) triples: Vec<EntailmentExample>,
    /// A number for the object of each of `triples`, equal for equal objects.
    pub(super) objects: Vec<i64>,
    /// Of each of the b examples the mention, or else the triple or the passage.
    pub(super) records: Vec<ExampleRecord>,
}

impl Batch {
    /// Tokens that the encoder reads, padding left out.
    pub(super) fn tokens(&self) -> usize {
        let masked = self.mlm.iter().chain(&self.description_mlm).map(|row| row.input_ids.len());
        let mentions = self.mentions.iter();
        let mentions =
            mentions.map(|pair| pair.mention.input_ids.len() + pair.description_ids.len());
        let triples = self.triples.iter().map(|row| row.subject_ids.len() + row.object_ids.len());
        masked.chain(mentions).chain(triples).sum()
    }
}

/// A number for an entity, the same for equal names.
pub(super) fn number_of(entity: &str) -> i64 {
    trainer::seed_for(0, entity, 0) & i64::MAX
}

/// Positions that carry loss; 1 where there are none, as it is divided by.
pub(super) fn target_count(rows: &[Masked]) -> f64 {
    let labels = rows.iter().flat_map(|row| &row.labels);
    labels.filter(|label| **label != IGNORE_INDEX).count().max(1) as f64
}

/// The hidden states of the mentions' first tokens and of their descriptions, `[b, H]` each.
pub(super) fn mention_states(
    model: &dyn Encoder,
    rows: &[MentionPair],
    pooling: Pooling,
) -> Result<Vec<Tensor>> {
    let passages: Vec<&[u32]> = rows.iter().map(|pair| pair.mention.input_ids.as_slice()).collect();
    let positions: Vec<usize> = rows.iter().map(|pair| pair.mention.position).collect();
    let descriptions: Vec<&[u32]> =
        rows.iter().map(|pair| pair.description_ids.as_slice()).collect();
    Ok(vec![
        at_positions(&encode(model, &passages, true)?, &positions)?,
        pooled(model, &descriptions, pooling, true)?,
    ])
}

/// The hidden states of subjects and objects, `[b, H]` each.
pub(super) fn object_states(
    model: &dyn Encoder,
    rows: &[EntailmentExample],
    pooling: Pooling,
) -> Result<Vec<Tensor>> {
    let subjects: Vec<&[u32]> = rows.iter().map(|row| row.subject_ids.as_slice()).collect();
    let objects: Vec<&[u32]> = rows.iter().map(|row| row.object_ids.as_slice()).collect();
    Ok(vec![pooled(model, &subjects, pooling, true)?, pooled(model, &objects, pooling, true)?])
}
