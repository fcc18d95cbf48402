//! The joint task of XLM-K: masked language modelling, masked entity prediction and object entailment (Eq. 6).
use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use kg_triples::Language;
use kg_triples::knowledge::{EntailmentDataset, MentionDataset, MentionExample, ObjectExample};
use objectives::masking::{MaskingVocab, mlm_masking};
use objectives::tch::{Device, Kind, Tensor};
use objectives::{
    ContrastRows, IGNORE_INDEX, LinearCrossEntropyConfig, LossError, MaskedLmConfig,
    MaskedLmReduction, NegativeQueue, QueueConfig, Term, TokenScores, cached_step, combine,
    masked_entity_prediction, masked_lm, masked_positions, object_entailment,
    relation_classification,
};
use trainer::{
    Examples, Fingerprint, Share, Step, StepLosses, Task, TaskError, TensorMap, accumulate,
    pad_rows,
};
use xlmr_model::{KnowledgeHeads, Model, SpecialTokens};

use super::states::{
    MaskedMention, encode, mask_mention, masking_vocab, mention_states, object_states, wide,
};
use super::{ContrastWithin, Languages, TaskConfig, one_set};

/// Mentions and facts as a training task.
pub struct KnowledgeTask<'a> {
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    mentions: &'a MentionDataset,
    facts: Option<&'a EntailmentDataset>,
    config: TaskConfig,
    vocab: MaskingVocab,
    lengths: Vec<usize>,
    /// Where each language has batch-norm statistics of its own.
    languages: Option<Languages>,
    groups: BTreeMap<Language, usize>,
    /// One for each group of mentions.
    mep_queues: Vec<NegativeQueue>,
    oe_queue: NegativeQueue,
}

/// The group of each language whose mentions are contrasted with each other alone; one of all without languages.
fn groups(mentions: &[MentionExample], within: ContrastWithin) -> BTreeMap<Language, usize> {
    if within == ContrastWithin::All {
        return BTreeMap::new();
    }
    let languages: BTreeSet<Language> = mentions.iter().map(|example| example.language).collect();
    languages.into_iter().zip(0..).collect()
}

/// One example's ids, and what is to be predicted in them.
struct Row {
    ids: Vec<i64>,
    labels: Vec<i64>,
}

/// The examples of a step.
struct Batch {
    mlm: Vec<Row>,
    description_mlm: Vec<Row>,
    queries: Vec<(MaskedMention, Vec<i64>)>,
    entities: Vec<i64>,
    /// The group of each mention.
    groups: Vec<usize>,
    /// The batch-norm set of each mention and of its description.
    mention_sets: [Vec<usize>; 2],
    objects: Vec<ObjectExample>,
    object_numbers: Vec<i64>,
}

const OE_QUEUE: &str = "oe_queue";

/// The name in checkpoints of the queue of a group of mentions.
fn mep_queue_name(group: usize) -> String {
    format!("mep_queue.{group}")
}

/// A number for an entity, the same for equal names.
fn number_of(entity: &str) -> i64 {
    trainer::seed_for(0, entity, 0) & i64::MAX
}

impl<'a> KnowledgeTask<'a> {
    /// Makes the queues, one for each group of mentions and one of objects.
    ///
    /// # Errors
    /// If a queue cannot be made or the vocabulary has no room for random tokens.
    pub fn new(
        model: &'a Model,
        heads: &'a KnowledgeHeads,
        mentions: &'a MentionDataset,
        facts: Option<&'a EntailmentDataset>,
        config: TaskConfig,
        specials: SpecialTokens,
    ) -> Result<Self> {
        let encoder = model.config();
        let vocab = masking_vocab(model, specials)?;
        let options = (Kind::Float, model.device());
        let queue = |offset: i64| {
            let seed = config.losses.queue.seed.wrapping_add(offset);
            let own = QueueConfig { seed, ..config.losses.queue.clone() };
            NegativeQueue::new(encoder.hidden_size, options, &own)
        };
        let mut lengths: Vec<usize> =
            mentions.train.iter().map(|example| example.input_ids.len()).collect();
        let whole = lengths.len() / config.batch_size.max(1) * config.batch_size;
        if whole > 0 {
            lengths.truncate(whole);
        }
        let by_language = config.losses.norm_by_language;
        let languages = by_language.then(|| Languages::new(mentions));
        let groups = groups(&mentions.train, config.losses.contrast_within);
        let mep_queues =
            (0..groups.len().max(1)).map(|k| queue(2 * k as i64)).collect::<Result<_, _>>()?;
        let oe_queue = queue(1)?;
        Ok(Self {
            model,
            heads,
            mentions,
            facts,
            config,
            vocab,
            lengths,
            languages,
            groups,
            mep_queues,
            oe_queue,
        })
    }

    /// The batch-norm sets of rows in these languages; none where all rows are one set.
    fn sets<'b>(&self, languages: impl Iterator<Item = &'b str>) -> Result<Vec<usize>> {
        self.languages.as_ref().map_or_else(|| Ok(Vec::new()), |all| all.numbers(languages))
    }

    fn group(&self, language: Language) -> usize {
        self.groups.get(&language).copied().unwrap_or(0)
    }

    fn batch(&self, step: &mut Step<'_>) -> Result<Batch> {
        let parts = &self.config.parts;
        let losses = &self.config.losses;
        let examples: Vec<&MentionExample> =
            step.batch.iter().filter_map(|&k| self.mentions.train.get(k)).collect();
        let first = step.number << 20; // example numbers of their own for each step
        let masked = |ids: &[i64], number: u64| -> Result<Row> {
            let masked = mlm_masking(ids.into(), &self.vocab, number, &losses.masking)?;
            Ok(Row { ids: masked.input_ids, labels: masked.labels })
        };
        let (mut mlm, mut description_mlm, mut queries) = (Vec::new(), Vec::new(), Vec::new());
        for (number, example) in (first..).zip(&examples) {
            let (ids, description) = (wide(&example.input_ids), wide(&example.description_ids));
            if parts.mlm != 0.0 {
                mlm.push(masked(&ids, number)?);
            }
            if parts.description_mlm != 0.0 {
                description_mlm.push(masked(&description, number + (1 << 19))?);
            }
            if parts.mep != 0.0 {
                let query = mask_mention(example, &self.vocab, &losses.mention)?;
                queries.push((query, description));
            }
        }
        let mut objects = Vec::new();
        if let (Some(facts), true) = (self.facts, parts.oe != 0.0) {
            for _ in 0..examples.len() {
                objects.push(facts.sample(parts.multilingual, &mut step.rng)?);
            }
        }
        Ok(Batch {
            mlm,
            description_mlm,
            queries,
            entities: examples.iter().map(|example| number_of(&example.entity)).collect(),
            groups: examples.iter().map(|example| self.group(example.language)).collect(),
            mention_sets: [
                self.sets(examples.iter().map(|example| example.language.as_str()))?,
                self.sets(examples.iter().map(|example| example.description_language.as_str()))?,
            ],
            object_numbers: objects.iter().map(|example| number_of(&example.object)).collect(),
            objects,
        })
    }

    /// The sum of the rows' masked-LM losses over `targets`, the number of targets of the whole batch.
    fn mlm(&self, rows: &[Row], targets: f64) -> Result<Option<Tensor>> {
        let ids: Vec<&[i64]> = rows.iter().map(|row| row.ids.as_slice()).collect();
        let labels: Vec<&[i64]> = rows.iter().map(|row| row.labels.as_slice()).collect();
        let device = self.model.device();
        let masked = masked_positions(&pad_rows(&labels, IGNORE_INDEX, Device::Cpu)?)?;
        if masked.is_empty() {
            return Ok(None);
        }
        let masked = masked.to_device(device)?;
        let states = self.model.mlm_transform(&masked.gather(&encode(self.model, &ids, true)?)?)?;
        let (weight, bias) = self.model.decoder()?;
        let scores = TokenScores::linear(&states, weight, Some(bias));
        let config = MaskedLmConfig { reduction: MaskedLmReduction::Sum, ..Default::default() };
        Ok(Some(masked_lm(scores, &masked.targets, &config)?.f_div_scalar(targets)?))
    }

    fn numbers(&self, values: &[i64]) -> Result<Tensor> {
        Ok(Tensor::f_from_slice(values)?.f_to_device(self.model.device())?)
    }
}

/// Positions that carry loss.
fn targets(rows: &[Row]) -> f64 {
    let count = |row: &Row| row.labels.iter().filter(|label| **label != IGNORE_INDEX).count();
    rows.iter().map(count).sum::<usize>().max(1) as f64
}

/// What `cached_step` carries: the losses' errors, and any other as text.
struct Stopped(anyhow::Error);

impl From<LossError> for Stopped {
    fn from(error: LossError) -> Self {
        Self(error.into())
    }
}

impl Task for KnowledgeTask<'_> {
    fn examples(&mut self) -> Examples<'_> {
        Examples::Indexed(&self.lengths)
    }

    fn fingerprint(&self, fingerprint: &mut Fingerprint) {
        fingerprint.serialize("config", &self.config);
        for example in self.mentions.train.iter().take(self.lengths.len()) {
            fingerprint.serialize("mention", example);
        }
        if let Some(facts) = self.facts {
            facts.visit(|name, text| {
                fingerprint.add(name, text);
            });
        }
    }

    fn losses(&mut self, step: &mut Step<'_>) -> Result<StepLosses, TaskError> {
        let batch = self.batch(step)?;
        let rows = |rows: &[Row]| rows.iter().map(|row| row.ids.len()).sum::<usize>();
        let tokens = rows(&batch.mlm)
            + rows(&batch.description_mlm)
            + batch.queries.iter().map(|(query, d)| query.ids.len() + d.len()).sum::<usize>()
            + batch.objects.iter().map(|o| o.subject_ids.len() + o.object_ids.len()).sum::<usize>();
        let losses = if step.batch.len() <= self.config.micro_batch {
            self.at_once(&batch)?
        } else {
            self.in_parts(&batch)?
        };
        Ok(StepLosses { tokens: Some(tokens as u64), ..losses })
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>, TaskError> {
        let mut state = self.heads.named_buffers();
        let mep = self.mep_queues.iter().enumerate();
        let queues = mep.map(|(k, queue)| (mep_queue_name(k), queue));
        for (name, queue) in queues.chain([(OE_QUEUE.to_owned(), &self.oe_queue)]) {
            let own = queue.tensors()?;
            state.extend(own.into_iter().map(|(part, tensor)| (format!("{name}.{part}"), tensor)));
        }
        Ok(state)
    }

    fn restore(&mut self, state: &TensorMap) -> Result<(), TaskError> {
        self.heads.restore_buffers(state)?;
        let mep = self.mep_queues.iter_mut().enumerate();
        let queues = mep.map(|(k, queue)| (mep_queue_name(k), queue));
        for (name, queue) in queues.chain([(OE_QUEUE.to_owned(), &mut self.oe_queue)]) {
            queue.restore(|part| state.get(&format!("{name}.{part}")))?;
        }
        Ok(())
    }
}

impl KnowledgeTask<'_> {
    /// The contrast of mentions with descriptions over the whole batch, from their states.
    fn mep_loss(&mut self, states: &[Tensor], batch: &Batch) -> Result<Tensor> {
        let (query, key) = pair(states)?;
        let [mentions, descriptions] = &batch.mention_sets;
        let query = self.heads.mep_query(query, mentions, true)?;
        let key = self.heads.mep_key(key, descriptions, true)?;
        let ids = self.numbers(&batch.entities)?;
        let mut losses = Vec::new();
        for (group, queue) in self.mep_queues.iter_mut().enumerate() {
            let own = (0..).zip(&batch.groups).filter(|(_, of)| **of == group);
            let own: Vec<i64> = own.map(|(row, _)| row).collect();
            if own.is_empty() {
                continue;
            }
            let share = own.len() as f64 / batch.groups.len() as f64;
            let own = Tensor::f_from_slice(&own)?.f_to_device(query.device())?;
            let rows = |of: &Tensor| of.f_index_select(0, &own);
            let ids = rows(&ids)?;
            let among = ContrastRows { ids: Some(&ids), valid: None };
            let loss = masked_entity_prediction(
                &rows(&query)?,
                &rows(&key)?,
                queue,
                &among,
                &self.config.losses.mep,
            )?;
            losses.push(loss.f_mul_scalar(share)?);
        }
        Ok(Tensor::f_stack(&losses, 0)?.f_sum(None::<Kind>)?)
    }

    /// The same for subjects and relations with objects, or the relation read off both.
    fn oe_loss(&mut self, states: &[Tensor], batch: &Batch) -> Result<Tensor> {
        let (subject, object) = pair(states)?;
        let relations: Vec<i64> =
            batch.objects.iter().map(|example| i64::from(example.relation)).collect();
        let relations = self.numbers(&relations)?;
        if self.config.parts.oe_classifies {
            let (weight, bias) = self.heads.relation_classifier();
            let config = LinearCrossEntropyConfig::default();
            return Ok(relation_classification(
                subject,
                object,
                weight,
                Some(bias),
                &relations,
                &config,
            )?);
        }
        let sets = one_set(self.languages.as_ref(), batch.objects.len());
        let query = self.heads.oe_query(subject, &relations, &sets, true)?;
        let key = self.heads.oe_key(object, &sets, true)?;
        let ids = self.numbers(&batch.object_numbers)?;
        let rows = ContrastRows { ids: Some(&ids), valid: None };
        Ok(object_entailment(&query, &key, &mut self.oe_queue, &rows, &self.config.losses.oe)?)
    }

    /// All losses in one graph.
    fn at_once(&mut self, batch: &Batch) -> Result<StepLosses> {
        let (parts, pooling) = (self.config.parts.clone(), self.config.losses.pooling);
        let mut terms: Vec<(&'static str, f64, Tensor)> = Vec::new();
        for (name, weight, rows) in [
            ("mlm", parts.mlm, &batch.mlm),
            ("description_mlm", parts.description_mlm, &batch.description_mlm),
        ] {
            if let Some(loss) =
                (!rows.is_empty()).then(|| self.mlm(rows, targets(rows))).transpose()?
            {
                terms.extend(loss.map(|loss| (name, weight, loss)));
            }
        }
        if !batch.queries.is_empty() {
            let states = mention_states(self.model, &batch.queries, pooling)?;
            terms.push(("mep", parts.mep, self.mep_loss(&states, batch)?));
        }
        if !batch.objects.is_empty() {
            let states = object_states(self.model, &batch.objects, pooling)?;
            terms.push(("oe", parts.oe, self.oe_loss(&states, batch)?));
        }
        let terms: Vec<Term<'_>> =
            terms.iter().map(|(name, weight, loss)| Term { name, weight: *weight, loss }).collect();
        let sum = combine(&terms)?;
        Ok(StepLosses { total: sum.total, parts: sum.parts, tokens: None, accumulated: false })
    }

    /// A batch that does not fit memory: masked LM as shares of the whole batch, each contrast in two passes.
    fn in_parts(&mut self, batch: &Batch) -> Result<StepLosses> {
        let (parts, pooling) = (self.config.parts.clone(), self.config.losses.pooling);
        let size = self.config.micro_batch.max(1);
        let device = self.model.device();
        let mut chunks: Vec<(&'static str, f64, &[Row], f64)> = Vec::new();
        for (name, weight, rows) in [
            ("mlm", parts.mlm, &batch.mlm),
            ("description_mlm", parts.description_mlm, &batch.description_mlm),
        ] {
            let all = targets(rows);
            chunks.extend(rows.chunks(size).map(|rows| (name, weight, rows, all)));
        }
        let mut losses = accumulate(&chunks, |&(name, weight, rows, all)| {
            let loss = self.mlm(rows, all)?;
            Ok(loss.map(|loss| Share { name, weight, loss }).into_iter().collect())
        })
        .map_err(anyhow::Error::from_boxed)?;
        let mut add = |name: &'static str, weight: f64, loss: Tensor| -> Result<()> {
            let loss = loss.f_to_kind(Kind::Double)?.f_to_device(Device::Cpu)?;
            losses.total = losses.total.f_add(&loss)?;
            losses.parts.push((name, loss.f_div_scalar(weight)?));
            Ok(())
        };
        let stopped = |error: Stopped| error.0;
        if !batch.queries.is_empty() {
            let model = self.model;
            let pieces: Vec<&[(MaskedMention, Vec<i64>)]> = batch.queries.chunks(size).collect();
            let loss = cached_step(
                &pieces,
                device,
                |rows: &&[(MaskedMention, Vec<i64>)]| {
                    mention_states(model, rows, pooling).map_err(Stopped)
                },
                |states| {
                    let loss = self.mep_loss(states, batch).map_err(Stopped)?;
                    loss.f_mul_scalar(parts.mep).map_err(|error| Stopped(error.into()))
                },
            )
            .map_err(stopped)?;
            add("mep", parts.mep, loss)?;
        }
        if !batch.objects.is_empty() {
            let model = self.model;
            let pieces: Vec<&[ObjectExample]> = batch.objects.chunks(size).collect();
            let loss = cached_step(
                &pieces,
                device,
                |rows: &&[ObjectExample]| object_states(model, rows, pooling).map_err(Stopped),
                |states| {
                    let loss = self.oe_loss(states, batch).map_err(Stopped)?;
                    loss.f_mul_scalar(parts.oe).map_err(|error| Stopped(error.into()))
                },
            )
            .map_err(stopped)?;
            add("oe", parts.oe, loss)?;
        }
        Ok(losses)
    }
}

fn pair(states: &[Tensor]) -> Result<(&Tensor, &Tensor)> {
    match states {
        [first, second] => Ok((first, second)),
        _ => Err(anyhow::anyhow!("expected two kinds of states, got {}", states.len())),
    }
}

#[cfg(test)]
mod tests {
    use kg_triples::Language;
    use kg_triples::knowledge::{EntailmentSource, TokenSpan};
    use objectives::{ContrastConfig, QueueStart};
    use xlmr_model::KnowledgeConfig;

    use super::*;
    use crate::testing::{model, specials};
    use crate::xlmk::{LossConfig, Parts};

    /// Passages `<s> a b c … </s>` with a mention of two tokens, and a description each.
    fn mentions(count: u32) -> MentionDataset {
        let example = |k: u32| {
            let words = (0..6 + k % 3).map(|i| 10 + (7 * k + 3 * i) % 900);
            let ids = |words: Vec<u32>| [vec![0], words, vec![2]].concat();
            MentionExample {
                passage: u64::from(k),
                id: k.to_string(),
                language: Language::new("en").unwrap(),
                input_ids: ids(words.collect()),
                mention: TokenSpan { start: 2, end: 4 },
                entity: format!("Q{}", k % 5),
                description_language: Language::new("de").unwrap(),
                description_ids: ids(vec![1000 + k % 5, 1100 + k]),
            }
        };
        MentionDataset { train: (0..count).map(example).collect(), ..Default::default() }
    }

    fn facts() -> EntailmentDataset {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let tokenizer = crate::vocabulary::read(&root.join("data/base/tokenizer.json")).unwrap();
        let source = EntailmentSource {
            kg: root.join("data/mini-kg"),
            description_tokens: 16,
            ..EntailmentSource::default()
        };
        EntailmentDataset::load(&source, &tokenizer).unwrap()
    }

    fn config(micro_batch: usize, parts: Parts) -> TaskConfig {
        let contrast = ContrastConfig::released(0.2);
        let queue = QueueConfig { size: 40, start: QueueStart::Random, seed: 3 };
        let losses =
            LossConfig { mep: contrast.clone(), oe: contrast, queue, ..LossConfig::default() };
        TaskConfig { parts, losses, micro_batch, batch_size: 11 }
    }

    fn step(batch: &[usize]) -> Step<'_> {
        Step { batch, number: 3, total: 9, rng: trainer::rng_for(1, "task", 3) }
    }

    type Gradients = Vec<(String, Tensor)>;

    /// Losses and gradients of one step in micro-batches of this many rows.
    fn run(micro_batch: usize, parts: &Parts) -> (StepLosses, Gradients, Vec<(String, Tensor)>) {
        let model = model(4000);
        let (mentions, facts) = (mentions(11), facts());
        let heads = KnowledgeHeads::new(
            model.config(),
            &KnowledgeConfig::default(),
            facts.relations(),
            Device::Cpu,
            1,
        )
        .unwrap();
        let config = config(micro_batch, parts.clone());
        let mut task =
            KnowledgeTask::new(&model, &heads, &mentions, Some(&facts), config, specials())
                .unwrap();
        let batch: Vec<usize> = (0..11).collect();
        let losses = task.losses(&mut step(&batch)).unwrap();
        if !losses.accumulated {
            losses.total.backward();
        }
        let gradients = model
            .named_parameters()
            .into_iter()
            .chain(heads.named_parameters())
            .map(|(name, parameter)| (name, parameter.grad()))
            .filter(|(_, grad)| grad.defined())
            .map(|(name, grad)| (name, grad.copy()))
            .collect();
        let state = task.state().unwrap().into_iter().map(|(name, own)| (name, own.copy()));
        (losses, gradients, state.collect())
    }

    #[test]
    fn a_batch_in_parts_has_the_losses_gradients_and_queues_of_the_whole() {
        for parts in [
            Parts::default(),
            Parts { description_mlm: 0.5, oe_classifies: true, mep: 0.3, ..Parts::default() },
        ] {
            let (whole, gradients, state) = run(100, &parts);
            assert!(!whole.accumulated);
            let (cut, cut_gradients, cut_state) = run(3, &parts);
            assert!(cut.accumulated);
            let near = |a: &Tensor, b: &Tensor| {
                let (a, b) = (a.double_value(&[]), b.double_value(&[]));
                assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} and {b}");
            };
            near(&cut.total, &whole.total);
            assert_eq!(cut.tokens, whole.tokens);
            for (name, loss) in &whole.parts {
                let own = cut.parts.iter().find(|(other, _)| other == name).unwrap();
                near(&own.1, loss);
            }
            assert_eq!(gradients.len(), cut_gradients.len());
            for ((name, want), (other, got)) in gradients.iter().zip(&cut_gradients) {
                assert_eq!(name, other);
                let scale = want.abs().max().double_value(&[]).max(1e-3);
                let error = testkit::max_abs_error(got, want);
                assert!(error < 1e-4 * scale, "{name}: {error:e} of {scale:e}");
            }
            for ((name, want), (_, got)) in state.iter().zip(&cut_state) {
                let error = testkit::max_abs_error(got, want);
                assert!(error < 1e-5, "{name}: {error:e}");
            }
        }
    }

    #[test]
    fn mentions_of_another_language_are_no_candidates() {
        let (model, facts) = (model(4000), facts());
        let mut mentions = mentions(11);
        for (k, example) in mentions.train.iter_mut().enumerate() {
            example.language = Language::new(["en", "es"][k % 2]).unwrap();
        }
        let only = Parts { mlm: 0.0, oe: 0.0, ..Parts::default() };
        let of = KnowledgeConfig::default();
        let loss = |batch: &[usize], within: ContrastWithin| {
            let heads = KnowledgeHeads::new(model.config(), &of, facts.relations(), Device::Cpu, 1)
                .unwrap();
            let mut config = config(100, only.clone());
            config.losses.contrast_within = within;
            config.losses.queue.start = QueueStart::Empty;
            let facts = Some(&facts);
            let mut task =
                KnowledgeTask::new(&model, &heads, &mentions, facts, config, specials()).unwrap();
            task.losses(&mut step(batch)).unwrap().total.double_value(&[])
        };
        let all: Vec<usize> = (0..11).collect();
        let (even, odd) = ([0usize, 2, 4, 6, 8, 10], [1usize, 3, 5, 7, 9]);
        let apart = loss(&even, ContrastWithin::All) * 6.0 / 11.0
            + loss(&odd, ContrastWithin::All) * 5.0 / 11.0;
        let within = loss(&all, ContrastWithin::MentionLanguage);
        assert!((within - apart).abs() < 1e-5, "{within} and {apart}");
        assert!((loss(&all, ContrastWithin::All) - apart).abs() > 1e-2);
    }

    #[test]
    fn weights_of_zero_leave_a_loss_out() {
        let only = Parts { mlm: 0.0, oe: 0.0, ..Parts::default() };
        let (losses, gradients, _) = run(100, &only);
        assert_eq!(losses.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["mep"]);
        assert!(
            gradients.iter().all(|(name, _)| !name.contains("oe_") && !name.contains("lm_head"))
        );
        assert!(gradients.iter().any(|(name, _)| name.contains("mep_query")));
    }

    #[test]
    fn the_query_is_the_state_of_a_mask_token() {
        let mentions = mentions(4);
        let vocab = masking_vocab(&model(4000), specials()).unwrap();
        let mask = i64::from(specials().mask);
        for example in &mentions.train {
            let query = mask_mention(example, &vocab, &Default::default()).unwrap();
            assert_eq!((query.position, query.ids[2], query.ids[3]), (2, mask, mask));
            assert_eq!(query.ids.len(), example.input_ids.len());
        }
    }
}
