//! Masked entity prediction (XLM-K, §3.2).
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Language;
use kg_triples::knowledge::MentionExample;
use objectives::masking::{MaskingVocab, entity_masking};
use objectives::{ContrastRowInfo, NegativeQueue, QueueConfig, masked_entity_prediction};
use tch::{Kind, Tensor};
use trainer::{
    Endless, ExampleRecord, ExampleStream, Examples, Fingerprint, ShardedJsonl, Step, StepLosses,
    Task, TaskError, TensorMap,
};
use xlmr_model::{KnowledgeHeads, Model, SpecialTokens};

use super::domains::domain_ids;
use super::{ContrastWithin, KnowledgeData, KnowledgeLossConfig, LanguageDomains, MentionMasking};
use crate::Result;
use crate::contrast::{entity_id, id_tensor, step_losses};
use crate::masked_lm::masking_vocab;
use crate::pooling::{at_positions, encode, pool_rows};

/// Training task of masked entity prediction (XLM-K, Jiang et al. 2022, §3.2, Eq. 1, 2 and 5),
/// logged as `mep`.
///
/// A masked mention is contrasted with the description of its entity in another language, among the
/// descriptions of the batch and of a queue.
///
/// A batch is always full, because a contrast over fewer rows is a different loss; the examples
/// restart when they are exhausted. Loss, gradients and queue do not depend on the size of
/// micro-batches.
pub struct EntityPredictionTask<'a> {
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    losses: KnowledgeLossConfig,
    vocab: MaskingVocab,
    stream: ExampleStream<Endless<ShardedJsonl<MentionExample>>>,
    /// Batch-norm domains of the languages; `None`: one domain for all languages.
    domains: Option<LanguageDomains>,
    /// Index in `queues` for the mentions of each language; `None` if the mentions of all languages
    /// share one queue.
    groups: Option<BTreeMap<Language, usize>>,
    /// The queue of each group of mentions.
    queues: Vec<NegativeQueue>,
}

impl<'a> EntityPredictionTask<'a> {
    /// Creates the task on the mentions of `data`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) naming a key that is out of range;
    /// [`Error::Data`](crate::Error::Data) naming a line that does not fit the model;
    /// [`Error::Loss`](crate::Error::Loss) if a queue cannot be created;
    /// [`Error::Masking`](crate::Error::Masking) if every id of the vocabulary is a special token.
    pub fn new(
        model: &'a Model,
        specials: SpecialTokens,
        heads: &'a KnowledgeHeads,
        losses: &KnowledgeLossConfig,
        data: &KnowledgeData,
    ) -> Result<Self> {
        losses.validate()?;
        data.mentions.check_limits(model)?;
        let groups = groups(&data.mentions.passage_languages, losses.contrast_within);
        let queue = |group: i64| -> Result<NegativeQueue> {
            let seed = losses.queue.seed.wrapping_add(2 * group);
            let config = QueueConfig { seed, ..losses.queue.clone() };
            let options = (Kind::Float, model.device());
            Ok(NegativeQueue::new(model.config().hidden_size, options, &config)?)
        };
        let queues = (0i64..)
            .take(groups.as_ref().map_or(1, BTreeMap::len))
            .map(queue)
            .collect::<Result<_>>()?;
        let count_tokens =
            |example: &MentionExample| example.input_ids.len() + example.description_ids.len();
        Ok(Self {
            model,
            heads,
            vocab: masking_vocab(model, specials)?,
            stream: ExampleStream::new(Endless::new(data.mention_lines()?), count_tokens),
            domains: losses.norm_by_language.then(|| LanguageDomains::of(data.languages())),
            groups,
            queues,
            losses: losses.clone(),
        })
    }

    /// Computes the mean loss over mentions, each contrasted within its group; `mentions` and
    /// `descriptions` are hidden states, `[b, H]` each.
    fn loss(&mut self, mentions: &Tensor, descriptions: &Tensor) -> Result<Tensor> {
        let examples = self.stream.batch();
        let domains = self.domains.as_ref();
        let mention_domains = domain_ids(domains, examples.iter().map(|example| example.language))?;
        let description_domains =
            domain_ids(domains, examples.iter().map(|example| example.description_language))?;
        let query = self.heads.mep_query(mentions, &mention_domains, true)?; // [b, H]
        let key = self.heads.mep_key(descriptions, &description_domains, true)?; // [b, H]
        let entities: Vec<i64> =
            examples.iter().map(|example| entity_id(&example.entity)).collect();
        let entities = id_tensor(&entities, query.device())?;
        let group_of = |example: &MentionExample| match &self.groups {
            Some(groups) => groups[&example.language],
            None => 0,
        };
        let groups: Vec<usize> = examples.iter().map(group_of).collect();
        let mut losses = Vec::new();
        for (group, queue) in self.queues.iter_mut().enumerate() {
            let in_group =
                (0i64..).zip(&groups).filter(|(_, example_group)| **example_group == group);
            let rows: Vec<i64> = in_group.map(|(row, _)| row).collect();
            if rows.is_empty() {
                continue;
            }
            let fraction = rows.len() as f64 / groups.len() as f64;
            let rows = id_tensor(&rows, query.device())?;
            let select = |tensor: &Tensor| tensor.f_index_select(0, &rows);
            let entities = select(&entities)?;
            let loss = masked_entity_prediction(
                &select(&query)?,
                &select(&key)?,
                queue,
                &ContrastRowInfo { ids: Some(&entities), valid: None },
                &self.losses.mep,
            )?;
            losses.push(loss.f_mul_scalar(fraction)?);
        }
        Ok(Tensor::f_stack(&losses, 0)?.f_sum(None::<Kind>)?)
    }
}

/// Returns the group of each language if mentions are contrasted within their language; `None` if
/// all mentions are contrasted together.
fn groups(
    languages: &BTreeSet<Language>,
    within: ContrastWithin,
) -> Option<BTreeMap<Language, usize>> {
    match within {
        ContrastWithin::All => None,
        ContrastWithin::MentionLanguage => Some(languages.iter().copied().zip(0..).collect()),
    }
}

/// A masked mention and the description of its entity.
pub(super) struct MentionPair {
    /// Token ids of the passage, `[L]`.
    pub(super) input_ids: Vec<u32>,
    /// Position of the mention's first token, below L.
    pub(super) position: usize,
    /// Token ids of the description.
    description_ids: Vec<u32>,
}

/// Masks the mention of a passage.
pub(super) fn mask_mention(
    example: &MentionExample,
    vocab: &MaskingVocab,
    config: &MentionMasking,
) -> Result<MentionPair> {
    let span = example.mention.start..example.mention.end;
    let position = span.start;
    let input_ids = entity_masking(&example.input_ids, span, vocab, config.span_mask)?;
    let description_ids = example.description_ids.clone();
    Ok(MentionPair { input_ids, position, description_ids })
}

impl Task for EntityPredictionTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Streamed(&mut self.stream)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.add_json("losses", &self.losses);
        self.stream.fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let mask =
            |example: &MentionExample| mask_mention(example, &self.vocab, &self.losses.mention);
        let rows = self.stream.batch().iter().map(mask).collect::<Result<Vec<_>>>()?;
        let tokens = rows.iter().map(|row| row.input_ids.len() + row.description_ids.len());
        let tokens = tokens.sum::<usize>() as u64;
        let (model, pooling) = (self.model, self.losses.pooling);
        let embed = |rows: &[MentionPair]| {
            let passages: Vec<&[u32]> = rows.iter().map(|row| row.input_ids.as_slice()).collect();
            let positions: Vec<usize> = rows.iter().map(|row| row.position).collect();
            let descriptions: Vec<&[u32]> =
                rows.iter().map(|row| row.description_ids.as_slice()).collect();
            Ok([
                at_positions(&encode(model, &passages, true)?, &positions)?,
                pool_rows(model, &descriptions, pooling, true)?,
            ])
        };
        let loss = |mentions: &Tensor, descriptions: &Tensor| self.loss(mentions, descriptions);
        let losses = step_losses(step, "mep", &rows, model.device(), embed, loss)?;
        Ok(StepLosses { tokens: Some(tokens), ..losses })
    }

    fn supports_micro_batches(&self) -> bool {
        true
    }

    fn example(&self, index: usize) -> ExampleRecord {
        let example = &self.stream.batch()[index];
        ExampleRecord { id: Some(example.id.clone()), input_ids: example.input_ids.clone() }
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.heads.named_buffers();
        for (group, queue) in self.queues.iter().enumerate() {
            let tensors = queue.tensors()?.into_iter();
            state.extend(tensors.map(|(name, tensor)| (format!("queue.{group}.{name}"), tensor)));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.heads.restore_buffers(state)?;
        for (group, queue) in self.queues.iter_mut().enumerate() {
            queue.restore(|name| state.get(&format!("queue.{group}.{name}")))?;
        }
        Ok(())
    }
}
