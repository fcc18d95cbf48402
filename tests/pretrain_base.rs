//! Tests of the demo's base model: training task, initialisation and reproducibility.
#[path = "../examples/pretrain-base/cloze.rs"]
mod cloze;
#[path = "../examples/pretrain-base/mimetic.rs"]
mod mimetic;

use std::path::Path;
use std::process::Command;

use objectives::IGNORE_INDEX;
use tch::{Device, Tensor};
use xlmr_model::{Config, Head, Model, SpecialTokens};

use self::cloze::{ClozeConfig, ClozeTask};
use self::mimetic::mimetic_start;
use crate::common::{CommandExt, prepare, program, succeed};

const LENGTHS: ClozeConfig = ClozeConfig { first_length: 24, last_length: 72 };
const SPECIAL_TOKENS: SpecialTokens = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };

fn model(vocabulary: i64) -> Model {
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

fn task(model: &Model) -> ClozeTask<'_> {
    // All tokens of the passage are different, so a token identifies its position.
    let passage: Vec<u32> = (5..65).collect();
    ClozeTask::new(model, SPECIAL_TOKENS, vec![vec![passage]], 10, &LENGTHS).unwrap()
}

#[test]
fn the_answer_is_a_passage_span_that_the_question_lacks() {
    let model = model(80);
    let task = task(&model);
    let mut rng = trainer::rng_for(1, "cloze", 0);
    for _ in 0..200 {
        let cloze = task.draw(40, &mut rng).unwrap();
        let passage = &cloze.input_ids[cloze.passage_start..cloze.input_ids.len() - 1];
        assert_eq!(passage.len(), 40);
        assert!(cloze.start >= cloze.passage_start && cloze.end >= cloze.start);
        assert!(cloze.end - cloze.start < 4);
        let answer = &cloze.input_ids[cloze.start..=cloze.end];
        let question = &cloze.input_ids[1..cloze.passage_start - 2];
        assert!(question.iter().all(|token| !answer.contains(token)));
        assert!(question.iter().filter(|token| **token == SPECIAL_TOKENS.mask).count() <= 1);
        assert_eq!(cloze.input_ids[cloze.passage_start - 2..cloze.passage_start], [2, 2]);
    }
}

#[test]
fn tokens_to_predict_are_in_the_passage_and_not_near_the_answer() {
    let model = model(80);
    let task = task(&model);
    let mut rng = trainer::rng_for(2, "cloze", 0);
    let (mut predicted_count, mut masked_count) = (0, 0);
    for _ in 0..300 {
        let cloze = task.draw(40, &mut rng).unwrap();
        for (position, &label) in cloze.labels.iter().enumerate() {
            if label == IGNORE_INDEX {
                continue;
            }
            assert!((cloze.passage_start..cloze.labels.len() - 1).contains(&position));
            assert!(position + 1 < cloze.start || position > cloze.end + 1);
            predicted_count += 1;
            let input = cloze.input_ids[position];
            assert!(i64::from(input) == label || input == SPECIAL_TOKENS.mask);
            masked_count += usize::from(input == SPECIAL_TOKENS.mask);
        }
    }
    // Each of the 300 passages has about 36 tokens that are not near the answer. Of these tokens,
    // 12 % are predicted. Of the predicted tokens, 85 % are masked.
    assert!((1100..1500).contains(&predicted_count), "{predicted_count}");
    assert!((0.80..0.90).contains(&(f64::from(masked_count as u32) / f64::from(predicted_count))));
}

#[test]
fn equal_tokens_attend_to_each_other_and_weights_depend_on_the_seed() {
    let (first, repeated, other) = (model(60), model(60), model(60));
    mimetic_start(&first, 1).unwrap();
    mimetic_start(&repeated, 1).unwrap();
    mimetic_start(&other, 2).unwrap();
    let tensors = |model: &Model| -> Vec<Tensor> {
        model.named_parameters().into_iter().map(|(_, tensor)| tensor).collect()
    };
    assert_eq!(tensors(&first), tensors(&repeated));
    assert_ne!(tensors(&first), tensors(&other));
    // Equal tokens attend to each other, because key and query weights are equal. The only
    // difference is that the key weights project out the direction of the segment embeddings.
    let parameters = first.named_parameters();
    let tensor =
        |end: &str| parameters.iter().find(|(name, _)| name.ends_with(end)).unwrap().1.detach();
    let (query, key) = (
        tensor("layer.0.attention.self.query.weight"),
        tensor("layer.0.attention.self.key.weight"),
    );
    let segment = tensor("token_type_embeddings.weight").get(1);
    assert!(key.matmul(&segment).abs().max().double_value(&[]) < 1e-5);
    assert!((query - key).linalg_matrix_rank(1e-4, false).int64_value(&[]) <= 1);
}

/// Path of the model in the run folder.
const MODEL: &str = "seed-0/base/model";

/// Returns the command for a run with one thread and a small vocabulary. The text excludes the
/// Wikipedia extracts, because encoding them would take a long time.
fn pretrain(folder: &Path, steps: u64) -> Command {
    let sources = "--extracts data/codex --sentences data/pud --paragraphs data/xquad";
    let text_options = "--paragraph-copies 2 --max-skipped-chars 1000000";
    let text =
        format!("data.text={}", prepare(&format!("demo-data text {sources} {text_options}")));
    let mut command = program("pretrain-base");
    command.args(["examples/pretrain-base/recipe.toml", "--out"]).arg(folder);
    let steps = format!("training.steps={steps}");
    command.set_all([
        &text,
        "run.threads=1",
        "vocabulary.size=1500",
        "vocabulary.bytes_per_language=40000",
        "vocabulary.label_copies=20",
        "vocabulary.alphabet=1000",
        "training.batch_size=4",
        &steps,
    ]);
    command
}

#[test]
fn recipe_pretrain_base_is_reproducible() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let text = succeed(pretrain(folder.path(), 50));
        assert!(text.contains("| seed | loss |"), "{text}");
    }
    for file in ["config.json", "model.safetensors", "heads.safetensors", "tokenizer.json"] {
        let [first, repeated] =
            folders.each_ref().map(|folder| std::fs::read(folder.path().join(MODEL).join(file)));
        assert!(first.unwrap() == repeated.unwrap(), "two runs of one seed differ in {file}");
    }
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let [trained, embedded] =
            [folders[0].path().join(MODEL), crate::common::root().join("data/base")]
                .map(|folder| std::fs::read_to_string(folder.join(file)).unwrap());
        assert_eq!(trained, embedded, "{file} of the embedded base");
    }
}
