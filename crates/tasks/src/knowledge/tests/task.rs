//! The joint task: cut batches, groups, weights, queries, and what a checkpoint is bound to.
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

use crate::knowledge::batch::mask_mention;
use crate::knowledge::tests::{prepare, rows};
use crate::knowledge::*;
use crate::masked_lm::masking_vocab;
use crate::testing::{assert_bf16_is_near_f32, model, specials};

/// Passages `<s> a b c … </s>` with a mention of two tokens, and a description each.
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

/// Triples of the embedded graph.
fn triples(seed: u64) -> Vec<EntailmentExample> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tokenizer = xlmr_model::read_tokenizer(root.join("data/base")).unwrap();
    let graph = KnowledgeGraph::read_dir(root.join("data/mini-kg")).unwrap();
    let config = EntailmentConfig { description_tokens: 16, ..Default::default() };
    let data = EntailmentExamples::with_triples(graph, &tokenizer, &config).unwrap();
    (0..30).map(|index| data.drawn(seed, index).unwrap()).collect()
}

/// Prepared folders, for as long as they are read.
struct Prepared {
    _folder: TempDir,
    data: KnowledgeData,
}

fn prepared(mentions: &[MentionExample], triples: &[EntailmentExample]) -> Prepared {
    let folder = tempfile::tempdir().unwrap();
    let [at, of] = ["mentions", "triples"].map(|name| folder.path().join(name));
    prepare(&at, &[("train/mentions", rows(mentions))]);
    prepare(&of, &[("train/triples", rows(triples))]);
    let data = KnowledgeData::open(at, of, &ShuffleConfig::default()).unwrap();
    Prepared { _folder: folder, data }
}

fn config(micro_batch: usize, weights: LossWeights) -> KnowledgeTaskConfig {
    let contrast = ContrastConfig::released(0.2);
    let queue = QueueConfig { size: 40, start: QueueStart::Random, seed: 3 };
    let losses =
        KnowledgeLossConfig { mep: contrast.clone(), oe: contrast, queue, ..Default::default() };
    KnowledgeTaskConfig { weights, losses, micro_batch, batch_size: 11, ..Default::default() }
}

fn step(batch: &[usize]) -> Step<'_> {
    Step { batch, number: 3, total: 9, micro_batch: None, rng: trainer::rng_for(1, "task", 3) }
}

fn heads(model: &Model, data: &KnowledgeData) -> KnowledgeHeads {
    let config = KnowledgeConfig::default();
    KnowledgeHeads::new(model.config(), &config, data.relations(), Device::Cpu, 1).unwrap()
}

/// The task with its first batch read.
fn task<'a>(
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    data: &KnowledgeData,
    config: KnowledgeTaskConfig,
    size: usize,
) -> KnowledgeTask<'a> {
    let mut task = KnowledgeTask::new(model, specials(), heads, config, data).unwrap();
    let Examples::Streamed(stream) = task.examples() else { panic!("examples are streamed") };
    stream.start_epoch(0, trainer::rng_for(1, "order", 0)).unwrap();
    assert_eq!(stream.next_batch(size).unwrap().lengths.len(), size);
    task
}

type Gradients = Vec<(String, Tensor)>;

/// Losses, gradients and state of one step.
fn run(config: KnowledgeTaskConfig) -> (StepLosses, Gradients, Vec<(String, Tensor)>) {
    let model = model(4000);
    let files = prepared(&examples(11), &triples(1));
    let heads = heads(&model, &files.data);
    let mut task = task(&model, &heads, &files.data, config, 11);
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
    let state = task.state().unwrap().into_iter().map(|(name, tensor)| (name, tensor.copy()));
    (losses, gradients, state.collect())
}

#[test]
fn a_step_without_a_masked_token_changes_nothing() {
    let weights = LossWeights { mlm: 1.0, mep: 0.0, oe: 0.0, description_mlm: 0.0 };
    for micro_batch in [3, 100] {
        let mut config = config(micro_batch, weights.clone());
        config.losses.masking.probability = 0.0;
        let (losses, gradients, _) = run(config);
        assert!(losses.accumulated && losses.parts.is_empty() && gradients.is_empty());
        assert_eq!(losses.total.double_value(&[]), 0.0);
    }
}

#[test]
fn a_batch_in_parts_has_the_losses_gradients_and_queues_of_the_whole() {
    let classified = KnowledgeTaskConfig {
        object_entailment: ObjectEntailment::Classification,
        ..config(3, LossWeights { description_mlm: 0.5, mep: 0.3, ..LossWeights::default() })
    };
    for small in [config(3, LossWeights::default()), classified] {
        let large = KnowledgeTaskConfig { micro_batch: 100, ..small.clone() };
        let (whole, gradients, state) = run(large);
        assert!(!whole.accumulated);
        let (cut, cut_gradients, cut_state) = run(small);
        assert!(cut.accumulated);
        let near = |a: &Tensor, b: &Tensor| {
            let (a, b) = (a.double_value(&[]), b.double_value(&[]));
            assert!((a - b).abs() < 1e-5 * b.abs().max(1.0), "{a} and {b}");
        };
        near(&cut.total, &whole.total);
        assert_eq!(cut.tokens, whole.tokens);
        for (name, loss) in &whole.parts {
            let (_, part) = cut.parts.iter().find(|(other, _)| other == name).unwrap();
            near(part, loss);
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
    let model = model(4000);
    let triples = triples(1);
    let mut mentions = examples(11);
    for (k, example) in mentions.iter_mut().enumerate() {
        example.language = Language::new(["en", "es"][k % 2]).unwrap();
    }
    let only = LossWeights { mlm: 0.0, oe: 0.0, ..LossWeights::default() };
    let loss = |mentions: &[MentionExample], within: ContrastWithin| {
        let files = prepared(mentions, &triples);
        let heads = heads(&model, &files.data);
        let mut config = config(100, only.clone());
        config.losses.contrast_within = within;
        config.losses.queue.start = QueueStart::Empty;
        let batch: Vec<usize> = (0..mentions.len()).collect();
        let mut task = task(&model, &heads, &files.data, config, batch.len());
        task.losses(&mut step(&batch)).unwrap().total.double_value(&[])
    };
    let of = |rest: usize| -> Vec<MentionExample> {
        mentions.iter().skip(rest).step_by(2).cloned().collect()
    };
    let [even, odd] = [0, 1].map(of);
    let all = &mentions;
    let apart = loss(&even, ContrastWithin::All) * 6.0 / 11.0
        + loss(&odd, ContrastWithin::All) * 5.0 / 11.0;
    let within = loss(all, ContrastWithin::MentionLanguage);
    assert!((within - apart).abs() < 1e-5, "{within} and {apart}");
    assert!((loss(all, ContrastWithin::All) - apart).abs() > 1e-2);
}

#[test]
fn weights_of_zero_leave_a_loss_out() {
    let only = LossWeights { mlm: 0.0, oe: 0.0, ..LossWeights::default() };
    let (losses, gradients, _) = run(config(100, only));
    assert_eq!(losses.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["mep"]);
    assert!(gradients.iter().all(|(name, _)| !name.contains("oe_") && !name.contains("lm_head")));
    assert!(gradients.iter().any(|(name, _)| name.contains("mep_query")));
}

#[test]
fn the_query_is_the_state_of_a_mask_token() {
    let vocab = masking_vocab(&model(4000), specials()).unwrap();
    let mask = specials().mask;
    for example in &examples(4) {
        let query = mask_mention(example, &vocab, &Default::default()).unwrap();
        assert_eq!((query.position, query.input_ids[2], query.input_ids[3]), (2, mask, mask));
        assert_eq!(query.input_ids.len(), example.input_ids.len());
    }
}

#[test]
fn triples_can_be_trained_alone() {
    let model = model(4000);
    let files = prepared(&examples(3), &triples(1));
    let heads = heads(&model, &files.data);
    let only = LossWeights { mlm: 0.0, mep: 0.0, ..LossWeights::default() };
    let mut task = task(&model, &heads, &files.data, config(100, only), 5);
    let losses = task.losses(&mut step(&[0, 1, 2, 3, 4])).unwrap();
    assert_eq!(losses.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["oe"]);
    assert!(task.example(4).id.unwrap().contains(' '), "subject, relation and object");
}

#[test]
fn the_fingerprint_names_mentions_triples_and_options() {
    let model = model(4000);
    let hash = |mentions: u32, seed: u64, weights: LossWeights| {
        let files = prepared(&examples(mentions), &triples(seed));
        let heads = heads(&model, &files.data);
        let task = task(&model, &heads, &files.data, config(100, weights), 5);
        let mut fingerprint = trainer::Fingerprint::new();
        task.fingerprint(&mut fingerprint);
        fingerprint.finish().unwrap()
    };
    let weights = LossWeights::default;
    let first = hash(11, 1, weights());
    assert_eq!(first, hash(11, 1, weights()));
    assert_ne!(first, hash(22, 1, weights()));
    assert_ne!(first, hash(11, 2, weights()));
    assert_ne!(first, hash(11, 1, LossWeights { mep: 0.5, ..weights() }));
}

#[test]
fn languages_are_numbered_in_order() {
    let [de, en, fr] = ["de", "en", "fr"].map(|code| Language::new(code).unwrap());
    let domains = LanguageDomains::of(&[en, de].into());
    assert_eq!((domains.count(), domains.ids([en, de, en]).unwrap()), (2, vec![1, 0, 1]));
    let error = domains.ids([fr]).unwrap_err().to_string();
    assert_eq!(error, "language of a row: expected one of de, en, got fr");
}

#[test]
fn low_precision_changes_little_in_one_graph_and_in_two_passes() {
    let model = model(4000);
    let files = prepared(&examples(11), &triples(1));
    let heads = heads(&model, &files.data);
    let mut parameters = model.named_parameters();
    parameters.extend(heads.named_parameters());
    for micro_batch in [3, 100] {
        let config = config(micro_batch, LossWeights::default());
        let task = || task(&model, &heads, &files.data, config.clone(), 11);
        assert_bf16_is_near_f32(&parameters, task, &(0..11).collect::<Vec<usize>>());
    }
}
