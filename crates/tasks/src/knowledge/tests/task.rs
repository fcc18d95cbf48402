//! Tests of the training tasks: micro-batches, language groups, masked mentions and fingerprints.
use kg_triples::KnowledgeGraph;
use kg_triples::Language;
use kg_triples::knowledge::{
    EntailmentConfig, EntailmentExample, EntailmentExamples, MentionExample, TokenSpan,
};
use objectives::{ContrastConfig, QueueConfig, QueueStart};
use tch::{Device, Tensor};
use tempfile::TempDir;
use trainer::{Examples, ShuffleConfig, Step, StepLosses, Task};
use xlmr_model::{KnowledgeConfig, KnowledgeHeads, Model};

use crate::knowledge::entity_prediction::mask_mention;
use crate::knowledge::tests::{prepare, to_json};
use crate::knowledge::*;
use crate::masked_lm::{MlmTask, masking_vocab};
use crate::testing::{assert_bf16_is_near_f32_in, fingerprint_of, model, specials, tokenizer};

/// Passages `<s> a b c … </s>`. Each passage has a mention of two tokens and a description.
fn examples(count: u32) -> Vec<MentionExample> {
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
    (0..count).map(example).collect()
}

/// Draws triples of the graph in `data/mini-kg`.
fn triples(seed: u64) -> Vec<EntailmentExample> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let graph = KnowledgeGraph::read_dir(root.join("data/mini-kg")).unwrap();
    let config = EntailmentConfig { description_tokens: 16, ..Default::default() };
    let data = EntailmentExamples::with_triples(graph, &tokenizer(), &config).unwrap();
    (0..30).map(|index| data.draw(seed, index).unwrap()).collect()
}

/// Data from prepared folders, which are deleted on drop.
struct PreparedData {
    _folder: TempDir,
    data: KnowledgeData,
}

fn prepared_data(mentions: &[MentionExample], triples: &[EntailmentExample]) -> PreparedData {
    let folder = tempfile::tempdir().unwrap();
    let [mention_folder, triple_folder] =
        ["mentions", "triples"].map(|name| folder.path().join(name));
    prepare(&mention_folder, &[("train/mentions", to_json(mentions))]);
    prepare(&triple_folder, &[("train/triples", to_json(triples))]);
    let data =
        KnowledgeData::open(mention_folder, triple_folder, &ShuffleConfig::default()).unwrap();
    PreparedData { _folder: folder, data }
}

fn losses_config() -> KnowledgeLossConfig {
    let contrast = ContrastConfig::released(0.2);
    let queue = QueueConfig { size: 40, start: QueueStart::Random, seed: 3 };
    KnowledgeLossConfig { mep: contrast.clone(), oe: contrast, queue, ..Default::default() }
}

fn step(batch: &[usize], micro_batch: Option<usize>) -> Step<'_> {
    let step = Step::new(batch, trainer::rng_for(1, "task", 3));
    Step { batch_index: 3, batch_count: 9, micro_batch, ..step }
}

fn heads(model: &Model, data: &KnowledgeData) -> KnowledgeHeads {
    let config = KnowledgeConfig::default();
    KnowledgeHeads::new(model.config(), &config, data.relations(), Device::Cpu, 1).unwrap()
}

/// Returns the task after its first batch of `size` examples has been read.
fn with_first_batch<T: Task>(mut task: T, size: usize) -> T {
    let Examples::Streamed(stream) = task.examples() else { panic!("examples are streamed") };
    stream.start_epoch(0, trainer::rng_for(1, "order", 0)).unwrap();
    assert_eq!(stream.next_batch(size).unwrap().lengths.len(), size);
    task
}

/// Model, heads and data for the tasks.
struct Fixture {
    model: Model,
    heads: KnowledgeHeads,
    prepared: PreparedData,
}

impl Fixture {
    fn new(mentions: &[MentionExample], triples: &[EntailmentExample]) -> Self {
        let model = model(4000);
        let prepared = prepared_data(mentions, triples);
        let heads = heads(&model, &prepared.data);
        Self { model, heads, prepared }
    }

    fn entity_prediction(&self, losses: &KnowledgeLossConfig) -> EntityPredictionTask<'_> {
        let Self { model, heads, prepared } = self;
        EntityPredictionTask::new(model, specials(), heads, losses, &prepared.data).unwrap()
    }

    fn object_entailment(&self, objective: ObjectEntailment) -> ObjectEntailmentTask<'_> {
        let Self { model, heads, prepared } = self;
        ObjectEntailmentTask::new(model, heads, objective, &losses_config(), &prepared.data)
            .unwrap()
    }

    fn parameters(&self) -> Vec<(String, Tensor)> {
        let mut parameters = self.model.named_parameters();
        parameters.extend(self.heads.named_parameters());
        parameters
    }
}

type Gradients = Vec<(String, Tensor)>;
type TaskFactory<'f> = &'f dyn Fn(&Fixture) -> Box<dyn Task + '_>;

/// Returns the losses, gradients and state of one step of 11 examples. Each call starts from the
/// same weights.
fn run(
    new_task: impl Fn(&Fixture) -> Box<dyn Task + '_>,
    micro_batch: Option<usize>,
) -> (StepLosses, Gradients, Vec<(String, Tensor)>) {
    let fixture = Fixture::new(&examples(11), &triples(1));
    let mut task = new_task(&fixture);
    let task = with_first_batch(&mut *task, 11);
    let batch: Vec<usize> = (0..11).collect();
    let losses = task.losses(&mut step(&batch, micro_batch)).unwrap();
    if !losses.is_accumulated {
        losses.total.backward();
    }
    let gradients = fixture
        .parameters()
        .into_iter()
        .map(|(name, parameter)| (name, parameter.grad()))
        .filter(|(_, grad)| grad.defined())
        .map(|(name, grad)| (name, grad.copy()))
        .collect();
    let state = task.state().unwrap().into_iter().map(|(name, tensor)| (name, tensor.copy()));
    (losses, gradients, state.collect())
}

#[test]
fn micro_batches_give_equal_losses_gradients_and_queues() {
    let objectives = [ObjectEntailment::Contrastive, ObjectEntailment::Classification];
    let tasks: [TaskFactory<'_>; 3] = [
        &|fixture| Box::new(fixture.entity_prediction(&losses_config())),
        &|fixture| Box::new(fixture.object_entailment(objectives[0])),
        &|fixture| Box::new(fixture.object_entailment(objectives[1])),
    ];
    for (new_task, name) in tasks.into_iter().zip(["mep", "oe", "oe"]) {
        let (unsplit, gradients, state) = run(new_task, None);
        assert!(!unsplit.is_accumulated);
        assert_eq!(unsplit.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [name]);
        let (split, split_gradients, split_state) = run(new_task, Some(3));
        assert!(split.is_accumulated);
        let assert_near = |a: &Tensor, b: &Tensor| {
            let (a, b) = (a.double_value(&[]), b.double_value(&[]));
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} and {b}");
        };
        assert_near(&split.total, &unsplit.total);
        assert_near(&split.parts[0].1, &unsplit.parts[0].1);
        assert_eq!(split.tokens, unsplit.tokens);
        assert_eq!(gradients.len(), split_gradients.len());
        for ((name, expected), (split_name, actual)) in gradients.iter().zip(&split_gradients) {
            assert_eq!(name, split_name);
            let scale = expected.abs().max().double_value(&[]).max(1e-3);
            let error = testkit::max_abs_error(actual, expected);
            assert!(error < 1e-4 * scale, "{name}: {error:e} of {scale:e}");
        }
        for ((name, expected), (_, actual)) in state.iter().zip(&split_state) {
            let error = testkit::max_abs_error(actual, expected);
            assert!(error < 1e-5, "{name}: {error:e}");
        }
    }
}

#[test]
fn mentions_of_other_languages_are_not_negatives() {
    let triples = triples(1);
    let mut mentions = examples(11);
    for (k, example) in mentions.iter_mut().enumerate() {
        example.language = Language::new(["en", "es"][k % 2]).unwrap();
    }
    let loss = |mentions: &[MentionExample], within: ContrastWithin| {
        let fixture = Fixture::new(mentions, &triples);
        let mut losses = losses_config();
        losses.contrast_within = within;
        losses.queue.start = QueueStart::Empty;
        let batch: Vec<usize> = (0..mentions.len()).collect();
        let mut task = with_first_batch(fixture.entity_prediction(&losses), batch.len());
        task.losses(&mut step(&batch, None)).unwrap().total.double_value(&[])
    };
    let every_second = |first: usize| -> Vec<MentionExample> {
        mentions.iter().skip(first).step_by(2).cloned().collect()
    };
    let [even, odd] = [0, 1].map(every_second);
    let all_mentions = &mentions;
    let separate = loss(&even, ContrastWithin::All) * 6.0 / 11.0
        + loss(&odd, ContrastWithin::All) * 5.0 / 11.0;
    let within_language = loss(all_mentions, ContrastWithin::MentionLanguage);
    assert!((within_language - separate).abs() < 1e-5, "{within_language} and {separate}");
    assert!((loss(all_mentions, ContrastWithin::All) - separate).abs() > 1e-2);
}

#[test]
fn each_task_trains_only_its_heads() {
    let (_, gradients, _) =
        run(|fixture| Box::new(fixture.entity_prediction(&losses_config())), None);
    assert!(gradients.iter().all(|(name, _)| !name.contains("oe_") && !name.contains("lm_head")));
    assert!(gradients.iter().any(|(name, _)| name.contains("mep_query")));
    let objective = ObjectEntailment::Contrastive;
    let (_, gradients, _) = run(|fixture| Box::new(fixture.object_entailment(objective)), None);
    assert!(gradients.iter().all(|(name, _)| !name.contains("mep_") && !name.contains("lm_head")));
    assert!(gradients.iter().any(|(name, _)| name.contains("oe_query")));
}

#[test]
fn the_query_is_the_hidden_state_of_a_mask_token() {
    let vocab = masking_vocab(&model(4000), specials()).unwrap();
    let mask = specials().mask;
    for example in &examples(4) {
        let query = mask_mention(example, &vocab, &Default::default()).unwrap();
        assert_eq!((query.position, query.input_ids[2], query.input_ids[3]), (2, mask, mask));
        assert_eq!(query.input_ids.len(), example.input_ids.len());
    }
}

#[test]
fn examples_of_the_last_batch_have_ids() {
    let fixture = Fixture::new(&examples(3), &triples(1));
    let task = with_first_batch(fixture.object_entailment(ObjectEntailment::Contrastive), 5);
    assert!(task.example(4).id.unwrap().contains(' '), "subject, relation and object");
    // The batch is full, although there are fewer mentions than rows in a batch.
    let task = with_first_batch(fixture.entity_prediction(&losses_config()), 5);
    assert!(task.example(4).id.is_some());
}

#[test]
fn masked_lm_uses_passages_or_descriptions() {
    let fixture = Fixture::new(&examples(11), &triples(1));
    let model = &fixture.model;
    let data = &fixture.prepared.data;
    let rows = |task: MlmTask<'_>| {
        let task = with_first_batch(task, 4);
        (0..4).map(|index| task.example(index).input_ids).collect::<Vec<_>>()
    };
    let passages = rows(data.masked_lm(model, specials(), &Default::default()).unwrap());
    let descriptions = rows(data.description_lm(model, specials(), &Default::default()).unwrap());
    let all_examples = examples(11);
    assert!(
        passages.iter().all(|ids| all_examples.iter().any(|example| example.input_ids == *ids))
    );
    assert!(
        descriptions
            .iter()
            .all(|ids| all_examples.iter().any(|example| example.description_ids == *ids))
    );
}

#[test]
fn the_fingerprint_depends_on_examples_and_options() {
    let entity_hash = |count: u32, temperature: f64| {
        let fixture = Fixture::new(&examples(count), &triples(1));
        let losses =
            KnowledgeLossConfig { mep: ContrastConfig::released(temperature), ..losses_config() };
        fingerprint_of(&fixture.entity_prediction(&losses))
    };
    let first = entity_hash(11, 0.2);
    assert_eq!(first, entity_hash(11, 0.2));
    assert_ne!(first, entity_hash(22, 0.2));
    assert_ne!(first, entity_hash(11, 0.3));
    let object_hash = |seed: u64, objective: ObjectEntailment| {
        let fixture = Fixture::new(&examples(11), &triples(seed));
        fingerprint_of(&fixture.object_entailment(objective))
    };
    let first = object_hash(1, ObjectEntailment::Contrastive);
    assert_eq!(first, object_hash(1, ObjectEntailment::Contrastive));
    assert_ne!(first, object_hash(2, ObjectEntailment::Contrastive));
    assert_ne!(first, object_hash(1, ObjectEntailment::Classification));
}

#[test]
fn domains_are_numbered_in_alphabetical_order() {
    let [de, en, fr] = ["de", "en", "fr"].map(|code| Language::new(code).unwrap());
    let domains = LanguageDomains::of(&[en, de].into());
    assert_eq!((domains.count(), domains.ids([en, de, en]).unwrap()), (2, vec![1, 0, 1]));
    let error = domains.ids([fr]).unwrap_err().to_string();
    assert_eq!(error, "language of a row: expected one of de, en, got fr");
}

#[test]
fn bf16_changes_results_little_with_and_without_micro_batches() {
    let fixture = Fixture::new(&examples(11), &triples(1));
    let batch: Vec<usize> = (0..11).collect();
    let parameters = fixture.parameters();
    for micro_batch in [None, Some(3)] {
        let entities = || with_first_batch(fixture.entity_prediction(&losses_config()), 11);
        assert_bf16_is_near_f32_in(&parameters, entities, &batch, micro_batch);
        let objective = ObjectEntailment::Contrastive;
        let objects = || with_first_batch(fixture.object_entailment(objective), 11);
        assert_bf16_is_near_f32_in(&parameters, objects, &batch, micro_batch);
    }
}
