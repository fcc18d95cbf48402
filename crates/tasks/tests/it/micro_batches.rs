//! Tests that micro-batches do not change the loss and the gradients, even with dropout and noise.
use std::path::Path;
use std::sync::Arc;

use kg_triples::Language;
use kg_triples::phrases::PassageExample;
use mlqa_eval::{Answer, Question, WindowConfig};
use objectives::masking::MlmMaskingConfig;
use objectives::tch::{Device, Tensor};
use tasks::masked_lm::{PassageMasking, PhraseMaskingTask, PhraseTaskConfig};
use tasks::question_answering::{QaAugmentation, QaConfig, QaData, QaTask};
use tasks::sequence_classification::SequenceClassificationTask;
use tasks::token_classification::TokenClassificationTask;
use trainer::{Step, Task};
use transfer_eval::ner::NerInput;
use xlmr_model::{Config, Head, Model, SpecialTokens, read_tokenizer};

fn model(vocabulary: i64, width: i64) -> Model {
    let config = Config {
        hidden_size: width,
        num_attention_heads: 2,
        num_hidden_layers: 2,
        intermediate_size: 32,
        max_position_embeddings: 100,
        hidden_dropout_prob: 0.3,
        attention_probs_dropout_prob: 0.3,
        ..Config::tiny(vocabulary)
    };
    let heads = [Head::MaskedLm, Head::Span, Head::TokenClassification { labels: 5 }];
    Model::new(&config, &heads, Device::Cpu, 1).unwrap()
}

/// Runs a training step; returns the loss and the gradients.
fn run_step(model: &Model, task: &mut dyn Task, micro_batch: Option<usize>) -> (f64, Vec<Tensor>) {
    let count = task.examples().lengths().unwrap().len();
    let batch: Vec<usize> = (0..count).collect();
    tch::manual_seed(6);
    let rng = trainer::rng_for(1, "step", 0);
    let mut step = Step { batch_index: 3, batch_count: 9, micro_batch, ..Step::new(&batch, rng) };
    let losses = task.losses(&mut step).unwrap();
    if !losses.is_accumulated {
        step.backward(&losses.total).unwrap();
    }
    let parameters = model.named_parameters().into_iter().map(|(_, parameter)| parameter);
    let trained: Vec<Tensor> = parameters.filter(|parameter| parameter.grad().defined()).collect();
    let gradients = trained.iter().map(|parameter| parameter.grad().copy()).collect();
    torch_ext::clear_grads(&trained.iter().collect::<Vec<_>>()).unwrap();
    (losses.total.double_value(&[]), gradients)
}

fn assert_micro_batches_match(name: &str, model: &Model, task: &mut dyn Task) {
    let (expected, gradients) = run_step(model, task, None);
    for micro_batch in [1, 3, 4] {
        let (actual, micro_batch_gradients) = run_step(model, task, Some(micro_batch));
        assert!(
            (actual - expected).abs() < 1e-5 * expected,
            "{name}: {actual} in micro-batches of {micro_batch}, {expected} unsplit"
        );
        assert_eq!(gradients.len(), micro_batch_gradients.len());
        let differences: Vec<Tensor> = gradients
            .iter()
            .zip(&micro_batch_gradients)
            .map(|(expected, actual)| expected - actual)
            .collect();
        let norm = |list: &[Tensor]| torch_ext::total_norm(&list.iter().collect::<Vec<_>>());
        let distance = norm(&differences).unwrap() / norm(&gradients).unwrap();
        assert!(distance < 1e-5, "{name}, micro-batches of {micro_batch}: {distance:e}");
    }
}

/// Creates rows of token ids with different lengths.
fn rows() -> Vec<Vec<u32>> {
    (0..10u32)
        .map(|k| (0..4 + 3 * k).map(|position| 5 + (position * 7 + k) % 30).collect())
        .collect()
}

/// libtorch has one random generator, so all tasks are in one test.
#[test]
fn micro_batch_size_does_not_change_random_draws() {
    for width in [16, 256] {
        let model = model(40, width);
        let specials = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };
        let passage =
            |input_ids| PassageExample { language: Language::EN, input_ids, phrases: Vec::new() };
        let passages = rows().into_iter().map(passage).collect();
        let masking = PassageMasking::Tokens(MlmMaskingConfig::default());
        let config = PhraseTaskConfig { masking, ..PhraseTaskConfig::default() };
        let mut mlm_task = PhraseMaskingTask::new(&model, specials, passages, &config).unwrap();
        assert_micro_batches_match("masked LM", &model, &mut mlm_task);

        let tagged_input = |(sentence, input_ids): (usize, Vec<u32>)| {
            let mut labels: Vec<i64> = vec![-100; input_ids.len()];
            let words = vec![(0, 1), (1, 2)];
            (labels[1], labels[2]) = ((sentence % 5) as i64, 3);
            NerInput { sentence, input_ids, labels, words }
        };
        let inputs: Vec<NerInput> = rows().into_iter().enumerate().map(tagged_input).collect();
        let mut tagging_task = TokenClassificationTask::new(&model, &inputs).unwrap();
        assert_micro_batches_match("tagging", &model, &mut tagging_task);
    }

    let head = Head::SequenceClassification { labels: 3 };
    let config = Config { hidden_dropout_prob: 0.3, ..Config::tiny(40) };
    let classifier = Model::new(&config, &[head], Device::Cpu, 1).unwrap();
    let pairs = rows().into_iter().zip([0, 1, 2].into_iter().cycle()).collect();
    let mut classification_task = SequenceClassificationTask::new(&classifier, pairs).unwrap();
    assert_micro_batches_match("classification", &classifier, &mut classification_task);

    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tokenizer = read_tokenizer(root.join("data/base")).unwrap();
    let reader = model(4000, 16);
    let question = |k: usize| Question {
        id: k.to_string(),
        question: "Which language does Peru speak ?".into(),
        context: Arc::from(format!("It is Spanish . {}", "It is in Asia . ".repeat(k % 7))),
        answers: vec![Answer::at(6, "Spanish")],
        title: "".into(),
    };
    let questions: Vec<Question> = (0..12).map(question).collect();
    let windows = WindowConfig { max_length: 60, doc_stride: 10, ..WindowConfig::default() };
    let data = QaData { questions: &questions, question_entity_spans: None, windows: &windows };
    let augmentation = QaAugmentation { embedding_noise: 2.0, question_replacement: 0.5 };
    let config = QaConfig { augmentation, ..Default::default() };
    let mut qa_task = QaTask::new(&reader, &tokenizer, &data, &config).unwrap();
    assert_micro_batches_match("span", &reader, &mut qa_task);
}
