//! The joint task of XLM-K.
use std::borrow::Cow;
use std::collections::BTreeMap;

use kg_triples::Language;
use kg_triples::knowledge::{EntailmentDataset, MentionDataset, MentionExample, TrainingMentions};
use objectives::masking::{Masked, MaskingVocab, mlm_masking};
use objectives::{NegativeQueue, QueueConfig};
use tch::{Kind, Tensor};
use trainer::{Examples, Fingerprint, Step, StepLosses, Task, TaskError, TensorMap};
use xlmr_model::{KnowledgeHeads, SpecialTokens};

use super::batch::{Batch, MentionPair, domain_ids, mask_mention, number_of};
use super::{ContrastWithin, KnowledgeTaskConfig, LanguageDomains};
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
    mentions: Option<Mentions<'a>>,
    triples: Option<Triples<'a>>,
    /// One for each example of an epoch.
    lengths: Vec<usize>,
    /// The queue of each group of mentions, see [`Mentions::groups`].
    pub(super) mep_queues: Vec<NegativeQueue>,
    /// The queue of objects; `None` without triples.
    pub(super) oe_queue: Option<NegativeQueue>,
}

struct Mentions<'a> {
    data: &'a MentionDataset,
    /// `None`: one batch-norm domain for all languages.
    domains: Option<LanguageDomains>,
    /// The group of each language whose mentions are contrasted with each other alone, an index of
    /// the queues; empty: one group of all.
    groups: BTreeMap<Language, usize>,
}

struct Triples<'a> {
    data: &'a EntailmentDataset,
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
fn groups(mentions: &TrainingMentions, within: ContrastWithin) -> BTreeMap<Language, usize> {
    match within {
        ContrastWithin::All => BTreeMap::new(),
        ContrastWithin::MentionLanguage => mentions.languages().into_iter().zip(0..).collect(),
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
        Ok(Self {
            model,
            heads,
            vocab: masking_vocab(model, specials)?,
            config,
            mentions: None,
            triples: None,
            lengths: Vec::new(),
            mep_queues: Vec::new(),
            oe_queue: None,
        })
    }

    /// Trains on `mentions.train`, and makes the queue of each group of mentions.
    ///
    /// # Errors
    /// [`Error::Loss`](crate::Error::Loss) if a queue cannot be made.
    pub fn with_mentions(mut self, mentions: &'a MentionDataset) -> Result<Self> {
        let losses = &self.config.losses;
        let groups = groups(&mentions.train, losses.contrast_within);
        self.mep_queues = (0i64..)
            .take(groups.len().max(1))
            .map(|group| self.queue(2 * group))
            .collect::<Result<_>>()?;
        let domains = losses.norm_by_language.then(|| LanguageDomains::new(mentions));
        // All count the same. Where each step draws its own, whole batches lose nothing.
        let lengths = vec![1; mentions.train.len()];
        self.lengths = match mentions.train.are_drawn() {
            true => self.complete_batches(lengths),
            false => lengths,
        };
        self.mentions = Some(Mentions { data: mentions, domains, groups });
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
        self.triples = Some(Triples { data: triples, multilingual });
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
        if let Some(Triples { data, multilingual }) = &self.triples
            && self.config.weights.oe != 0.0
        {
            for _ in step.batch {
                batch.triples.push(data.sample(*multilingual, &mut step.rng)?);
            }
            batch.objects = batch.triples.iter().map(|row| number_of(&row.object)).collect();
        }
        Ok(batch)
    }

    fn mention_batch(&self, mentions: &Mentions<'_>, step: &mut Step<'_>) -> Result<Batch> {
        let KnowledgeTaskConfig { weights, losses, .. } = &self.config;
        let Mentions { data, domains, groups } = mentions;
        let examples = step.batch.iter().map(|&k| data.train.example(k, &mut step.rng));
        let examples: Vec<Cow<'_, MentionExample>> = examples.collect::<Result<_, _>>()?;
        let first = step.number << 20; // each step has its own numbers
        let masked = |ids: &[u32], number: u64| -> Result<Masked> {
            Ok(mlm_masking(ids.into(), &self.vocab, number, &losses.masking)?)
        };
        let mut batch = Batch::default();
        for (number, example) in (first..).zip(&examples) {
            if weights.mlm != 0.0 {
                batch.mlm.push(masked(&example.input_ids, number)?);
            }
            if weights.description_mlm != 0.0 {
                let number = number + (1 << 19);
                batch.description_mlm.push(masked(&example.description_ids, number)?);
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

impl Task for KnowledgeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        if let Some(mentions) = &self.mentions {
            fingerprint.serialize("mentions", &self.lengths.len());
            mentions.data.train.visit(|name, text| {
                fingerprint.add(name, text);
            });
        }
        if let Some(Triples { data, multilingual }) = &self.triples {
            fingerprint.serialize("multilingual", multilingual);
            data.visit(|name, text| {
                fingerprint.add(name, text);
            });
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch = self.batch(step)?;
        let losses = if step.batch.len() <= self.config.micro_batch {
            self.losses_at_once(&batch)?
        } else {
            self.losses_in_micro_batches(&batch)?
        };
        Ok(StepLosses { tokens: Some(batch.tokens() as u64), ..losses })
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
