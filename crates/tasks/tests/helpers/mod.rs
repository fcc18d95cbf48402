//! Test helpers: tiny models, and checks of a training step that apply to every task.
use mlqa_eval::{Answer, Question};
use objectives::tch::{Device, Kind, Tensor};
use tokenizers::Tokenizer;
use torch_ext::Precision;
use trainer::{Fingerprint, Step, StepLosses, Task, TaskError};
use xlmr_model::{Config, Head, LoadOptions, Model, Pretrained, SpecialTokens};

pub(crate) fn model(vocabulary: i64) -> Model {
    let config = Config {
        hidden_size: 16,
        num_attention_heads: 2,
        num_hidden_layers: 2,
        intermediate_size: 32,
        type_vocab_size: 2,
        max_position_embeddings: 100,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        ..Config::tiny(vocabulary)
    };
    Model::new(&config, &[Head::MaskedLm, Head::Span], Device::Cpu, 1).unwrap()
}

/// Creates a tiny model with this head, 40 token ids and no dropout.
pub(crate) fn model_with_head(head: Head, initializer_range: f64, seed: u64) -> Model {
    let config = Config {
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        initializer_range,
        ..Config::tiny(40)
    };
    Model::new(&config, &[head], Device::Cpu, seed).unwrap()
}

pub(crate) fn specials() -> SpecialTokens {
    SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 }
}

/// Reads the tokenizer of the base model in `data/base`.
pub(crate) fn tokenizer() -> Tokenizer {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    xlmr_model::read_tokenizer(root.join("data/base")).unwrap()
}

/// Loads the base model in `data/base` with its masked-LM head.
pub(crate) fn base() -> Pretrained {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base");
    Pretrained::load(root, &[Head::MaskedLm], Device::Cpu, LoadOptions::default()).unwrap().0
}

/// Creates a question whose answer is the first occurrence of `answer` in the context.
pub(crate) fn question(id: &str, question: &str, context: &str, answer: &str) -> Question {
    let (before, _) = context.split_once(answer).unwrap();
    Question {
        id: id.into(),
        question: question.into(),
        context: context.into(),
        answers: vec![Answer::at(before.chars().count(), answer)],
        title: "".into(),
    }
}

/// Computes the losses of the first step.
pub(crate) fn first_losses(task: &mut dyn Task, batch: &[usize]) -> Result<StepLosses, TaskError> {
    let rng = trainer::rng_for(0, "test", 0);
    task.losses(&mut Step::new(batch, rng))
}

/// Computes the total loss of the first step.
pub(crate) fn first_loss(task: &mut dyn Task, batch: &[usize]) -> Tensor {
    first_losses(task, batch).unwrap().total
}

pub(crate) fn fingerprint_of(task: &dyn Task) -> String {
    let mut fingerprint = Fingerprint::new();
    task.fingerprint(&mut fingerprint);
    fingerprint.finish().unwrap()
}

/// Reference implementation of the cross-entropy of one row of logits.
pub(crate) fn cross_entropy(logits: &[f64], label: i64) -> f64 {
    let sum: f64 = logits.iter().map(|logit| logit.exp()).sum();
    sum.ln() - logits[label as usize]
}

/// Asserts that a parameter's gradient is within `bound` of the central differences of a loss.
pub(crate) fn assert_gradient_equals_differences(
    parameter: &Tensor,
    bound: f64,
    loss: impl Fn() -> f64,
) {
    let gradient = Vec::<f64>::try_from(parameter.grad()).unwrap();
    for (k, actual) in gradient.iter().enumerate() {
        let loss_at = |shift: f64| {
            let mut element = parameter.detach().get(k as i64);
            let _ = element.g_add_scalar_(shift);
            let value = loss();
            let _ = element.g_add_scalar_(-shift);
            value
        };
        let expected = (loss_at(1e-5) - loss_at(-1e-5)) / 2e-5;
        assert!((actual - expected).abs() < bound, "{k}: got {actual}, expected {expected}");
    }
}

type NamedTensors = Vec<(String, Tensor)>;

/// Runs a training step as the trainer does; returns the total loss and the gradients of the
/// parameters.
fn run_step(
    parameters: &NamedTensors,
    task: &mut dyn Task,
    batch: &[usize],
    precision: Precision,
    micro_batch: Option<usize>,
) -> (f64, NamedTensors) {
    let rng = trainer::rng_for(1, "step", 0);
    let mut step = Step { batch_index: 3, batch_count: 9, micro_batch, ..Step::new(batch, rng) };
    let losses: StepLosses =
        precision.run(Device::Cpu, || task.losses(&mut step)).unwrap().unwrap();
    if !losses.is_accumulated {
        step.backward(&losses.total).unwrap();
    }
    // Error reports of a non-finite loss list the token ids of the examples.
    assert!(batch.iter().all(|&index| !task.example(index).input_ids.is_empty()));
    let mut gradients = Vec::new();
    for (name, parameter) in parameters {
        if parameter.grad().defined() {
            gradients.push((name.clone(), parameter.grad().copy()));
        }
    }
    let tensors: Vec<&Tensor> = parameters.iter().map(|(_, parameter)| parameter).collect();
    torch_ext::clear_grads(&tensors).unwrap();
    (losses.total.double_value(&[]), gradients)
}

/// Computes the norm of the difference of two lists of gradients, relative to the norm of the first
/// list.
fn relative_distance(first: &NamedTensors, second: &NamedTensors) -> f64 {
    let names = |list: &NamedTensors| list.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(first), names(second));
    let differences: Vec<Tensor> = first.iter().zip(second).map(|((_, a), (_, b))| a - b).collect();
    let norm = |list: Vec<&Tensor>| torch_ext::total_norm(&list).unwrap();
    norm(differences.iter().collect()) / norm(first.iter().map(|(_, tensor)| tensor).collect())
}

/// Maximum relative difference of a bfloat16 loss from the float32 loss. bfloat16 has 8 significant
/// bits.
const LOSS_BOUND: f64 = 0.01;

/// Maximum relative distance of all bfloat16 gradients from the float32 gradients.
const GRADIENT_BOUND: f64 = 0.1;

/// Asserts that the bfloat16 loss is within `LOSS_BOUND` of the float32 loss but not equal to it,
/// and that gradients are finite and float32. `task` creates a new task, because a step may change
/// its state.
pub(crate) fn assert_bf16_is_near_f32<T: Task>(
    parameters: &NamedTensors,
    task: impl Fn() -> T,
    batch: &[usize],
) {
    assert_bf16_is_near_f32_in(parameters, task, batch, None);
}

/// Like [`assert_bf16_is_near_f32`], for a batch that is split into micro-batches.
pub(crate) fn assert_bf16_is_near_f32_in<T: Task>(
    parameters: &NamedTensors,
    task: impl Fn() -> T,
    batch: &[usize],
    micro_batch: Option<usize>,
) {
    let (expected, gradients) =
        run_step(parameters, &mut task(), batch, Precision::F32, micro_batch);
    let (actual, bf16_gradients) =
        run_step(parameters, &mut task(), batch, Precision::Bf16, micro_batch);
    let relative_error = (actual - expected).abs() / expected.abs();
    assert!(relative_error < LOSS_BOUND, "{actual} in bfloat16, {expected} in float32");
    assert_ne!(actual, expected);
    for (name, gradient) in &bf16_gradients {
        let is_finite = gradient.isfinite().all().int64_value(&[]) == 1;
        assert!(is_finite && gradient.kind() == Kind::Float, "{name}");
    }
    let relative_distance = relative_distance(&gradients, &bf16_gradients);
    assert!(relative_distance < GRADIENT_BOUND, "{relative_distance}");
}

/// Asserts that micro-batches of 4 rows and of 1 row give the loss and the gradients of the unsplit
/// batch.
pub(crate) fn assert_micro_batches_match<T: Task>(
    parameters: &NamedTensors,
    task: impl Fn() -> T,
    batch: &[usize],
) {
    assert!(task().supports_micro_batches() && batch.len() > 4);
    let (expected, gradients) = run_step(parameters, &mut task(), batch, Precision::F32, None);
    for size in [4, 1] {
        let (actual, split_gradients) =
            run_step(parameters, &mut task(), batch, Precision::F32, Some(size));
        assert!(
            (actual - expected).abs() < 1e-5 * expected.abs(),
            "{actual} in micro-batches of {size}, {expected} unsplit"
        );
        let relative_distance = relative_distance(&gradients, &split_gradients);
        assert!(relative_distance < 1e-5, "in micro-batches of {size}: {relative_distance:e}");
    }
}
