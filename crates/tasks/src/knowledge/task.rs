//! The joint task of XLM-K.
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Language;
use kg_triples::knowledge::{EntailmentDataset, EntailmentExample, MentionDataset, MentionExample};
use objectives::masking::{Masked, MaskingVocab, mlm_masking};
use objectives::{NegativeQueue, QueueConfig};
use tch::{Kind, Tensor};
use trainer::{ExampleRecord, Examples, Fingerprint, Step, StepLosses, Task, TaskError, TensorMap};
use xlmr_model::{KnowledgeHeads, SpecialTokens};

use super::batch::{Batch, MentionPair, domain_ids, mask_mention, number_of};
use super::streamed::{KnowledgeExample, KnowledgeStream};
use super::{
    ContrastWithin, KnowledgeData, KnowledgeTaskConfig, LanguageDomains, Mentions, Triples,
};
use crate::masked_lm::masking_vocab;
use crate::{Encoder, Result};

/// Mentions and triples as a training task (XLM-K, Jiang et al. 2022, Eq. 6): the weighted sum of
/// masked language modelling, masked entity prediction and object entailment, logged as `mlm`,
/// `mep`, `oe` and, in the ablation without knowledge tasks, `description_mlm`.
///
/// A step is a batch of mentions and as many triples, both drawn at random; without mentions,
/// triples alone. So each of the three losses sees a batch of the paper's 8,192. Mentions and
/// objects have a queue each. A batch larger than `micro_batch` is cut, and its losses, gradients
/// and queues are those of the whole batch.
///
/// # Example
/// ```
/// use kg_triples::knowledge::{EntailmentDataset, MentionDataset};
/// use tasks::knowledge::{KnowledgeTask, KnowledgeTaskConfig};
/// use xlmr_model::{KnowledgeHeads, Pretrained};
///
/// # fn task<'a>(base: &'a Pretrained, heads: &'a KnowledgeHeads, mentions: &'a MentionDataset,
/// #     triples: &'a EntailmentDataset) -> tasks::Result<KnowledgeTask<'a>> {
/// let config = KnowledgeTaskConfig { batch_size: 64, micro_batch: 64, ..Default::default() };
/// let task = KnowledgeTask::new(&base.model, base.specials, heads, config)?
///     .with_mentions(mentions)?
///     .with_triples(triples, true)?;
/// # Ok(task)
/// # }
/// ```
pub struct KnowledgeTask<'a> {
    pub(super) model: &'a dyn Encoder,
    pub(super) heads: &'a KnowledgeHeads,
    pub(super) config: KnowledgeTaskConfig,
    vocab: MaskingVocab,
    specials: SpecialTokens,
    mentions: Option<TrainedMentions<'a>>,
    triples: Option<TrainedTriples<'a>>,
    /// What is streamed; the rest is drawn.
    stream: Option<KnowledgeStream>,
    /// Masked language modelling reads the stream's text, not the passages of mentions.
    text: bool,
    /// One for each example of an epoch.
    lengths: Vec<usize>,
    /// The queue of each group of mentions, see [`TrainedMentions::groups`].
    pub(super) mep_queues: Vec<NegativeQueue>,
    /// The queue of objects; `None` without triples.
    pub(super) oe_queue: Option<NegativeQueue>,
    /// What the examples of the last batch were, by their index in it.
    last: BTreeMap<usize, ExampleRecord>,
}

struct TrainedMentions<'a> {
    /// `None`: they come with the stream.
    data: Option<&'a MentionDataset>,
    /// `None`: one batch-norm domain for all languages.
    domains: Option<LanguageDomains>,
    /// The group of each language whose mentions are contrasted with each other alone, an index of
    /// the queues; empty: one group of all.
    groups: BTreeMap<Language, usize>,
}

struct TrainedTriples<'a> {
    /// `None`: they come with the stream.
    data: Option<&'a EntailmentDataset>,
    /// Subject and object are described in different languages.
    multilingual: bool,
}

const OE_QUEUE: &str = "oe_queue";

/// The name in checkpoints of the queue of a group of mentions.
fn mep_queue_name(group: usize) -> String {
    format!("mep_queue.{group}")
}

/// The group of each language whose mentions are contrasted with each other alone; none where all
/// are.
fn groups(languages: BTreeSet<Language>, within: ContrastWithin) -> BTreeMap<Language, usize> {
    match within {
        ContrastWithin::All => BTreeMap::new(),
        ContrastWithin::MentionLanguage => languages.into_iter().zip(0..).collect(),
    }
}

impl<'a> KnowledgeTask<'a> {
    /// A task without examples: give them with [`with_mentions`](Self::with_mentions) and
    /// [`with_triples`](Self::with_triples).
    ///
    /// # Errors
    /// [`Error::Config`](crate::Error::Config) if the weights leave nothing to train; as
    /// [`masking_vocab`].
    pub fn new(
        model: &'a dyn Encoder,
        specials: SpecialTokens,
        heads: &'a KnowledgeHeads,
        config: KnowledgeTaskConfig,
    ) -> Result<Self> {
        config.weights.validate()?;
        config.losses.validate()?;
        Ok(Self {
            model,
            heads,
            vocab: masking_vocab(model, specials)?,
            config,
            specials,
            mentions: None,
            triples: None,
            stream: None,
            text: false,
            lengths: Vec::new(),
            mep_queues: Vec::new(),
            oe_queue: None,
            last: BTreeMap::new(),
        })
    }

    /// Trains on `mentions.train`, and makes the queue of each group of mentions.
    ///
    /// # Errors
    /// [`Error::Loss`](crate::Error::Loss) if a queue cannot be made.
    pub fn with_mentions(mut self, mentions: &'a MentionDataset) -> Result<Self> {
        // All count the same. Where each step draws its own, whole batches lose nothing.
        let lengths = vec![1; mentions.train.len()];
        self.lengths = match mentions.train.are_drawn() {
            true => self.complete_batches(lengths),
            false => lengths,
        };
        let languages = (mentions.train.languages(), mentions.languages());
        self.with_languages(Some(mentions), languages)
    }

    /// `languages`: those of passages, and of passages and descriptions.
    fn with_languages(
        mut self,
        data: Option<&'a MentionDataset>,
        (passages, all): (BTreeSet<Language>, BTreeSet<Language>),
    ) -> Result<Self> {
        let losses = &self.config.losses;
        let groups = groups(passages, losses.contrast_within);
        self.mep_queues = (0i64..)
            .take(groups.len().max(1))
            .map(|group| self.queue(2 * group))
            .collect::<Result<_>>()?;
        let domains = losses.norm_by_language.then(|| LanguageDomains::of(all));
        self.mentions = Some(TrainedMentions { data, domains, groups });
        Ok(self)
    }

    /// Trains on triples too, and makes the queue of objects. With `multilingual`, subject and
    /// object are described in different languages.
    ///
    /// # Errors
    /// [`Error::Loss`](crate::Error::Loss) if the queue cannot be made.
    pub fn with_triples(
        mut self,
        triples: &'a EntailmentDataset,
        multilingual: bool,
    ) -> Result<Self> {
        self.oe_queue = Some(self.queue(1)?);
        if self.mentions.is_none() {
            // Descriptions are made when they are drawn; all count the same.
            self.lengths = self.complete_batches(vec![1; triples.report().train]);
        }
        self.triples = Some(TrainedTriples { data: Some(triples), multilingual });
        Ok(self)
    }

    /// Trains on all of `data`, each part drawn from memory or streamed, in batches of as many
    /// mentions, triples and passages of text. With `multilingual`, mention and description,
    /// subject and object are in different languages; what is streamed is as it was written.
    ///
    /// # Errors
    /// As [`with_mentions`](Self::with_mentions); [`Error::Data`](crate::Error::Data) naming the
    /// streamed line that the model cannot read; [`Error::Empty`](crate::Error::Empty) if the data
    /// holds no mentions within a language and `multilingual` is false.
    pub fn with_data(mut self, data: &'a KnowledgeData, multilingual: bool) -> Result<Self> {
        self = match (data.drawn_mentions(multilingual)?, &data.mentions) {
            (None, Mentions::Streamed(shards)) => {
                shards.expect_fit(self.model)?;
                let languages = (shards.passage_languages.clone(), shards.languages.clone());
                self.with_languages(None, languages)?
            }
            (Some(mentions), _) | (None, Mentions::Drawn(mentions)) => {
                self.with_mentions(mentions)?
            }
        };
        match &data.triples {
            Triples::Drawn(triples) => self = self.with_triples(triples, multilingual)?,
            Triples::Streamed(shards) => {
                shards.expect_fit(self.model)?;
                self.oe_queue = Some(self.queue(1)?);
                self.triples = Some(TrainedTriples { data: None, multilingual });
            }
        }
        self.stream = data.stream(&self.config.weights, self.specials)?;
        self.text = data.has_text();
        Ok(self)
    }

    fn queue(&self, offset: i64) -> Result<NegativeQueue> {
        let queue = &self.config.losses.queue;
        let config = QueueConfig { seed: queue.seed.wrapping_add(offset), ..queue.clone() };
        let options = (Kind::Float, self.model.device());
        Ok(NegativeQueue::new(self.model.hidden_size(), options, &config)?)
    }

    /// The lengths without those that are left over after the last whole batch, if there is one.
    fn complete_batches(&self, mut lengths: Vec<usize>) -> Vec<usize> {
        let size = self.config.batch_size.max(1);
        let complete = lengths.len() / size * size;
        if complete > 0 {
            lengths.truncate(complete);
        }
        lengths
    }

    fn batch(&self, step: &mut Step<'_>) -> Result<Batch> {
        let mut batch = match &self.mentions {
            Some(mentions) => self.mention_batch(mentions, step)?,
            None => Batch::default(),
        };
        for (number, (_, (_, passage))) in (first_number(step)..).zip(self.streamed()) {
            if let Some(ids) = passage {
                batch.mlm.push(self.masked(ids, number)?);
            }
        }
        if let Some(TrainedTriples { data, multilingual }) = &self.triples
            && self.config.weights.oe != 0.0
        {
            batch.triples = match data {
                Some(data) => (step.batch.iter())
                    .map(|_| data.sample(*multilingual, &mut step.rng))
                    .collect::<Result<_, _>>()?,
                None => {
                    let triples =
                        self.streamed().iter().filter_map(|(_, (triple, _))| triple.as_ref());
                    triples.cloned().collect()
                }
            };
            batch.objects = batch.triples.iter().map(|row| number_of(&row.object)).collect();
        }
        if batch.records.is_empty() {
            let triple = |row: &EntailmentExample| ExampleRecord {
                id: Some(format!("{} {} {}", row.subject, row.relation_id, row.object)),
                input_ids: row.subject_ids.clone(),
            };
            batch.records = batch.triples.iter().map(triple).collect();
        }
        if batch.records.is_empty() {
            let passages = self.streamed().iter().filter_map(|(_, (_, passage))| passage.clone());
            batch.records =
                passages.map(|input_ids| ExampleRecord { id: None, input_ids }).collect();
        }
        Ok(batch)
    }

    /// The examples of the step that are streamed.
    fn streamed(&self) -> &[KnowledgeExample] {
        self.stream.as_ref().map(KnowledgeStream::batch).unwrap_or_default()
    }

    /// A row with random tokens masked.
    fn masked(&self, ids: &[u32], number: u64) -> Result<Masked> {
        Ok(mlm_masking(ids.into(), &self.vocab, number, &self.config.losses.masking)?)
    }

    fn mention_batch(&self, mentions: &TrainedMentions<'_>, step: &mut Step<'_>) -> Result<Batch> {
        let KnowledgeTaskConfig { weights, losses, .. } = &self.config;
        let TrainedMentions { data, domains, groups } = mentions;
        let examples: Vec<Cow<'_, MentionExample>> = match data {
            Some(data) => {
                let draw = |&k: &usize| data.train.example(k, &mut step.rng);
                step.batch.iter().map(draw).collect::<Result<_, _>>()?
            }
            None => {
                let mentions = self.streamed().iter().filter_map(|(mention, _)| mention.as_ref());
                mentions.map(Cow::Borrowed).collect()
            }
        };
        let record = |example: &Cow<'_, MentionExample>| ExampleRecord {
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
        let group = |language: &Language| groups.get(language).copied().unwrap_or(0);
        batch.entities = examples.iter().map(|example| number_of(&example.entity)).collect();
        batch.groups = examples.iter().map(|example| group(&example.language)).collect();
        let languages = examples.iter().map(|example| example.language);
        batch.mention_domains = domain_ids(domains.as_ref(), languages)?;
        let languages = examples.iter().map(|example| example.description_language);
        batch.description_domains = domain_ids(domains.as_ref(), languages)?;
        Ok(batch)
    }
}

/// The number of a step's first row: each step has its own numbers.
fn first_number(step: &Step<'_>) -> u64 {
    step.number << 20
}

impl Task for KnowledgeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        match &mut self.stream {
            Some(stream) => Examples::Streamed(stream),
            None => Examples::Indexed(&self.lengths),
        }
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        if let Some(data) = self.mentions.as_ref().and_then(|mentions| mentions.data) {
            fingerprint.serialize("mentions", &self.lengths.len());
            data.train.visit(|name, text| {
                fingerprint.add(name, text);
            });
        }
        if let Some(TrainedTriples { data, multilingual }) = &self.triples {
            fingerprint.serialize("multilingual", multilingual);
            if let Some(data) = data {
                data.visit(|name, text| {
                    fingerprint.add(name, text);
                });
            }
        }
        if let Some(stream) = &self.stream {
            stream.fingerprint(fingerprint);
        }
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
        let oe = self.oe_queue.iter().map(|queue| (OE_QUEUE.to_owned(), queue));
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
        let oe = self.oe_queue.iter_mut().map(|queue| (OE_QUEUE.to_owned(), queue));
        for (name, queue) in queues.chain(oe) {
            queue.restore(|part| state.get(&format!("{name}.{part}")))?;
        }
        Ok(())
    }
}
