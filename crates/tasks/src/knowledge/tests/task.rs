//! The joint task: cut batches, groups, weights, queries, and what a checkpoint is bound to.
use kg_triples::Language;
use kg_triples::knowledge::{
    DescribedBy, EntailmentDataset, EntailmentSource, MentionDataset, MentionExample, TokenSpan,
};
use objectives::{ContrastConfig, QueueConfig, QueueStart};
use tch::{Device, Tensor};
use trainer::{Examples, Step, StepLosses, Task};
use xlmr_model::{KnowledgeConfig, KnowledgeHeads, Model};

use crate::knowledge::batch::mask_mention;
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

fn mentions(count: u32) -> MentionDataset {
    dataset(examples(count))
}

fn dataset(examples: Vec<MentionExample>) -> MentionDataset {
    MentionDataset { train: examples.into(), ..Default::default() }
}

fn triples() -> EntailmentDataset {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tokenizer = xlmr_model::read_tokenizer(root.join("data/base")).unwrap();
    let source: EntailmentSource = EntailmentSource {
        kg: root.join("data/mini-kg"),
        descriptions: DescribedBy::Triples,
        description_tokens: 16,
        ..Default::default()
    };
    EntailmentDataset::load(&source, &tokenizer).unwrap()
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

fn heads(model: &Model, config: &KnowledgeConfig, triples: &EntailmentDataset) -> KnowledgeHeads {
    let relations = triples.relations();
    KnowledgeHeads::new(model.config(), config, relations, Device::Cpu, 1).unwrap()
}

fn task<'a>(
    model: &'a Model,
    heads: &'a KnowledgeHeads,
    mentions: &'a MentionDataset,
    triples: &'a EntailmentDataset,
    config: KnowledgeTaskConfig,
) -> KnowledgeTask<'a> {
    KnowledgeTask::new(model, specials(), heads, config)
        .and_then(|task| task.with_mentions(mentions))
        .and_then(|task| task.with_triples(triples, true))
        .unwrap()
}

type Gradients = Vec<(String, Tensor)>;

/// Losses, gradients and state of one step.
fn run(config: KnowledgeTaskConfig) -> (StepLosses, Gradients, Vec<(String, Tensor)>) {
    let model = model(4000);
    let (mentions, triples) = (mentions(11), triples());
    let heads = heads(&model, &KnowledgeConfig::default(), &triples);
    let mut task = task(&model, &heads, &mentions, &triples, config);
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
fn no_example_that_is_given_is_left_out_of_an_epoch() {
    let (model, mentions, triples) = (model(4000), mentions(13), triples());
    let heads = heads(&model, &KnowledgeConfig::default(), &triples);
    let mut task = task(&model, &heads, &mentions, &triples, config(5, LossWeights::default()));
    let Examples::Indexed(lengths) = task.examples() else { panic!("examples are indexed") };
    assert_eq!(lengths.len(), 13);
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
    let (model, triples) = (model(4000), triples());
    let mut mentions = examples(11);
    for (k, example) in mentions.iter_mut().enumerate() {
        example.language = Language::new(["en", "es"][k % 2]).unwrap();
    }
    let mentions = dataset(mentions);
    let only = LossWeights { mlm: 0.0, oe: 0.0, ..LossWeights::default() };
    let head_config = KnowledgeConfig::default();
    let loss = |batch: &[usize], within: ContrastWithin| {
        let heads = heads(&model, &head_config, &triples);
        let mut config = config(100, only.clone());
        config.losses.contrast_within = within;
        config.losses.queue.start = QueueStart::Empty;
        let mut task = task(&model, &heads, &mentions, &triples, config);
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
    let (model, triples) = (model(4000), triples());
    let heads = heads(&model, &KnowledgeConfig::default(), &triples);
    let config = config(100, LossWeights::default());
    let mut task = KnowledgeTask::new(&model, specials(), &heads, config)
        .and_then(|task| task.with_triples(&triples, false))
        .unwrap();
    let complete = triples.report().train / 11 * 11;
    assert_eq!(task.examples().lengths().map(<[usize]>::len), Some(complete));
    let losses = task.losses(&mut step(&[0, 1, 2, 3, 4])).unwrap();
    assert_eq!(losses.parts.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["oe"]);
}

#[test]
fn the_fingerprint_names_mentions_triples_and_options() {
    let (model, triples) = (model(4000), triples());
    let heads = heads(&model, &KnowledgeConfig::default(), &triples);
    let hash = |mentions: &MentionDataset, multilingual: bool, weights: LossWeights| {
        let task = KnowledgeTask::new(&model, specials(), &heads, config(100, weights))
            .and_then(|task| task.with_mentions(mentions))
            .and_then(|task| task.with_triples(&triples, multilingual))
            .unwrap();
        let mut fingerprint = trainer::Fingerprint::new();
        task.fingerprint(&mut fingerprint);
        fingerprint.finish().unwrap()
    };
    let weights = LossWeights::default;
    let first = hash(&mentions(11), true, weights());
    assert_eq!(first, hash(&mentions(11), true, weights()));
    assert_ne!(first, hash(&mentions(22), true, weights()));
    assert_ne!(first, hash(&mentions(11), false, weights()));
    assert_ne!(first, hash(&mentions(11), true, LossWeights { mep: 0.5, ..weights() }));
}

#[test]
fn languages_are_numbered_in_order() {
    let domains = LanguageDomains::new(&mentions(3));
    let [de, en] = ["de", "en"].map(|code| Language::new(code).unwrap());
    // No entity is listed, so that passages alone count.
    assert_eq!((domains.count(), domains.ids([en, en]).unwrap()), (1, vec![0, 0]));
    let error = domains.ids([de]).unwrap_err().to_string();
    assert_eq!(error, "language of a row: expected one of en, got de");
}

#[test]
fn low_precision_changes_little_in_one_graph_and_in_two_passes() {
    let model = model(4000);
    let (mentions, triples) = (mentions(11), triples());
    let heads = heads(&model, &KnowledgeConfig::default(), &triples);
    let mut parameters = model.named_parameters();
    parameters.extend(heads.named_parameters());
    for micro_batch in [3, 100] {
        let config = config(micro_batch, LossWeights::default());
        let task = || task(&model, &heads, &mentions, &triples, config.clone());
        assert_bf16_is_near_f32(&parameters, task, &(0..11).collect::<Vec<usize>>());
    }
}
