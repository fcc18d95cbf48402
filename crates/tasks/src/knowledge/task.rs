//! The joint task of XLM-K.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Language;
use kg_triples::knowledge::{EntailmentExample, MentionExample};
use objectives::masking::{Masked, MaskingVocab, mlm_masking};
use objectives::{NegativeQueue, QueueConfig};
use tch::{Kind, Tensor};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError, TensorMap};
use xlmr_model::{KnowledgeHeads, SpecialTokens};

use super::batch::{Batch, MentionPair, domain_ids, mask_mention, number_of};
use super::prepared::KnowledgeStream;
use super::{ContrastWithin, KnowledgeData, KnowledgeTaskConfig, LanguageDomains};
use crate::masked_lm::masking_vocab;
use crate::{Encoder, Result};

/// Mentions and triples as a training task (XLM-K, Jiang et al. 2022, Eq. 6): the weighted sum of
/// masked language modelling, masked entity prediction and object entailment, logged as `mlm`,
/// `mep`, `oe` and, in the ablation without knowledge tasks, `description_mlm`.
///
/// A step is a batch of mentions, as many triples and, where there is text, as many passages of it,
/// each in an order of its own. So each of the three losses sees a batch of the paper's 8,192.
/// Mentions and objects have a queue each. A batch larger than `micro_batch` is cut, and its
/// losses, gradients and queues are those of the whole batch.
///
/// # Example
/// ```
/// use tasks::knowledge::{KnowledgeData, KnowledgeTask, KnowledgeTaskConfig};
/// use xlmr_model::{KnowledgeHeads, Pretrained};
///
/// # fn task<'a>(base: &'a Pretrained, heads: &'a KnowledgeHeads, data: &KnowledgeData)
/// #     -> tasks::Result<KnowledgeTask<'a>> {
/// let config = KnowledgeTaskConfig { batch_size: 64, micro_batch: 64, ..Default::default() };
/// let task = KnowledgeTask::new(&base.model, base.specials, heads, config, data)?;
/// # Ok(task)
/// # }
/// ```
pub struct KnowledgeTask<'a> {
    pub(super) model: &'a dyn Encoder,
    pub(super) heads: &'a KnowledgeHeads,
    pub(super) config: KnowledgeTaskConfig,
    vocab: MaskingVocab,
    stream: KnowledgeStream,
    /// Masked language modelling reads text of its own, not the passages of mentions.
    text: bool,
    /// `None`: one batch-norm domain for all languages.
    domains: Option<LanguageDomains>,
    /// The group of each language whose mentions are contrasted with each other alone, an index of
    /// the queues; empty: one group of all.
    groups: BTreeMap<Language, usize>,
    /// The queue of each group of mentions.
    pub(super) mep_queues: Vec<NegativeQueue>,
    /// The queue of objects.
    pub(super) oe_queue: NegativeQueue,
    /// What the examples of the last batch were, by their index in it.
    last: BTreeMap<usize, ExampleRecord>,
}

const OE_QUEUE: &str = "oe_queue";

/// The name in checkpoints of the queue of a group of mentions.
fn mep_queue_name(group: usize) -> String {
    format!("mep_queue.{group}")
}

/// The group of each language whose mentions are contrasted with each other alone; none where all
/// are.
fn groups(languages: &BTreeSet<Language>, within: ContrastWithin) -> BTreeMap<Language, usize> {
    match within {
        ContrastWithin::All => BTreeMap::new(),
        ContrastWithin::MentionLanguage => languages.iter().copied().zip(0..).collect(),
    }
}

impl<'a> KnowledgeTask<'a> {
    /// The task of the losses that `config` weighs, on the examples of `data`.
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the weights leave nothing to train;
    /// [`Error::Data`](crate::Error::Data) naming the line that the model cannot read;
    /// [`Error::Loss`](crate::Error::Loss) if a queue cannot be made; as [`masking_vocab`].
    pub fn new(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        heads: &'a KnowledgeHeads,
        config: KnowledgeTaskConfig,
        data: &KnowledgeData,
    ) -> Result<Self> {
        config.weights.validate()?;
        config.losses.validate()?;
        data.mentions.expect_fit(model)?;
        data.triples.expect_fit(model)?;
        let losses = &config.losses;
        let groups = groups(&data.mentions.passage_languages, losses.contrast_within);
        let queue = |offset: i64| -> Result<NegativeQueue> {
            let seed = losses.queue.seed.wrapping_add(offset);
            let config = QueueConfig { seed, ..losses.queue.clone() };
            let options = (Kind::Float, model.device());
            Ok(NegativeQueue::new(model.hidden_size(), options, &config)?)
        };
        let mep_queues = (0i64..).take(groups.len().max(1)).map(|group| queue(2 * group));
        Ok(Self {
            model,
            heads,
            vocab: masking_vocab(model, specials)?,
            stream: data.stream(&config.weights, specials)?,
            text: data.has_text(),
            domains: losses.norm_by_language.then(|| LanguageDomains::of(data.languages())),
            groups,
            mep_queues: mep_queues.collect::<Result<_>>()?,
            oe_queue: queue(1)?,
            config,
            last: BTreeMap::new(),
        })
    }

    fn batch(&self, step: &Step<'_>) -> Result<Batch> {
        let examples = self.stream.batch();
        let mut batch = self.mention_batch(step)?;
        for (number, (_, (_, passage))) in (first_number(step)..).zip(examples) {
            if let Some(ids) = passage {
                batch.mlm.push(self.masked(ids, number)?);
            }
        }
        let triples = examples.iter().filter_map(|(_, (triple, _))| triple.clone());
        batch.triples = triples.collect();
        batch.objects = batch.triples.iter().map(|row| number_of(&row.object)).collect();
        if batch.records.is_empty() {
            let triple = |row: &EntailmentExample| ExampleRecord {
                id: Some(format!("{} {} {}", row.subject, row.relation_id, row.object)),
                input_ids: row.subject_ids.clone(),
            };
            batch.records = batch.triples.iter().map(triple).collect();
        }
        if batch.records.is_empty() {
            let passages = examples.iter().filter_map(|(_, (_, passage))| passage.clone());
            batch.records =
                passages.map(|input_ids| ExampleRecord { id: None, input_ids }).collect();
        }
        Ok(batch)
    }

    /// A row with random tokens masked.
    fn masked(&self, ids: &[u32], number: u64) -> Result<Masked> {
        Ok(mlm_masking(ids.into(), &self.vocab, number, &self.config.losses.masking)?)
    }

    fn mention_batch(&self, step: &Step<'_>) -> Result<Batch> {
        let KnowledgeTaskConfig { weights, losses, .. } = &self.config;
        let mentions = self.stream.batch().iter().filter_map(|(mention, _)| mention.as_ref());
        let examples: Vec<&MentionExample> = mentions.collect();
        let record = |example: &&MentionExample| ExampleRecord {
            id: Some(example.id.clone()),
            input_ids: example.input_ids.clone(),
        };
        let mut batch =
            Batch { records: examples.iter().map(record).collect(), ..Batch::default() };
        for (number, example) in (first_number(step)..).zip(&examples) {
            if weights.mlm != 0.0 && !self.text {
                batch.mlm.push(self.masked(&example.input_ids, number)?);
            }
            if weights.description_mlm != 0.0 {
                let number = number + (1 << 19);
                batch.description_mlm.push(self.masked(&example.description_ids, number)?);
            }
            if weights.mep != 0.0 {
                let mention = mask_mention(example, &self.vocab, &losses.mention)?;
                let description_ids = example.description_ids.clone();
                batch.mentions.push(MentionPair { mention, description_ids });
            }
        }
        let group = |language: &Language| self.groups.get(language).copied().unwrap_or(0);
        batch.entities = examples.iter().map(|example| number_of(&example.entity)).collect();
        batch.groups = examples.iter().map(|example| group(&example.language)).collect();
        let languages = examples.iter().map(|example| example.language);
        batch.mention_domains = domain_ids(self.domains.as_ref(), languages)?;
        let languages = examples.iter().map(|example| example.description_language);
        batch.description_domains = domain_ids(self.domains.as_ref(), languages)?;
        Ok(batch)
    }
}

/// The number of a step's first row: each step has its own numbers.
fn first_number(step: &Step<'_>) -> u64 {
    step.number << 20
}

impl Task for KnowledgeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Streamed(&mut self.stream)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        self.stream.fingerprint(fingerprint);
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let mut batch = self.batch(step)?;
        let records = std::mem::take(&mut batch.records);
        self.last = step.batch.iter().copied().zip(records).collect();
        let size = self.config.micro_batch;
        let size = step.micro_batch.map_or(size, |part| part.min(size));
        let losses = if step.batch.len() <= size {
            self.losses_at_once(&batch)?
        } else {
            self.losses_in_micro_batches(&batch, size.max(1))?
        };
        Ok(StepLosses { tokens: Some(batch.tokens() as u64), ..losses })
    }

    fn takes_micro_batches(&self) -> bool {
        true
    }

    /// Of the last batch, since examples are drawn.
    fn example(&self, index: usize) -> ExampleRecord {
        self.last.get(&index).cloned().unwrap_or_default()
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.heads.named_buffers();
        let mep = self.mep_queues.iter().enumerate();
        let queues = mep.map(|(group, queue)| (mep_queue_name(group), queue));
        let oe = [(OE_QUEUE.to_owned(), &self.oe_queue)];
        for (name, queue) in queues.chain(oe) {
            let tensors = queue.tensors()?.into_iter();
            state.extend(tensors.map(|(part, tensor)| (format!("{name}.{part}"), tensor)));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.heads.restore_buffers(state)?;
        let mep = self.mep_queues.iter_mut().enumerate();
        let queues = mep.map(|(group, queue)| (mep_queue_name(group), queue));
        let oe = [(OE_QUEUE.to_owned(), &mut self.oe_queue)];
        for (name, queue) in queues.chain(oe) {
            queue.restore(|part| state.get(&format!("{name}.{part}")))?;
        }
        Ok(())
    }
}
