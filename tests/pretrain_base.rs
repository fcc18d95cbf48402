//! The demo's base: its task, its start, and the same model from the same recipe.
#[path = "../examples/pretrain-base/cloze.rs"]
mod cloze;
#[path = "../examples/pretrain-base/mimetic.rs"]
mod mimetic;

use std::path::Path;
use std::process::Command;

use objectives::IGNORE_INDEX;
use tch::{Device, Tensor};
use trainer::{Step, Task};
use xlmr_model::{Config, Head, Model, SpecialTokens};

use self::cloze::{ClozeConfig, ClozeTask};
use self::mimetic::mimetic_start;
use crate::common::{kill_at, prepared, program, refuse, succeed};

const SPECIALS: SpecialTokens = SpecialTokens { bos: 0, pad: 1, eos: 2, unk: 3, mask: 4 };

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
    // Every token of a passage is different, so that it tells its position.
    let passage: Vec<u32> = (5..65).collect();
    ClozeTask::new(model, SPECIALS, vec![vec![passage]], 10, &ClozeConfig::default()).unwrap()
}

#[test]
fn the_answer_is_a_span_of_the_passage_that_the_question_leaves_out() {
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
        assert!(question.iter().filter(|token| **token == SPECIALS.mask).count() <= 1);
        assert_eq!(cloze.input_ids[cloze.passage_start - 2..cloze.passage_start], [2, 2]);
    }
}

#[test]
fn tokens_to_predict_are_in_the_passage_and_not_near_the_answer() {
    let model = model(80);
    let task = task(&model);
    let mut rng = trainer::rng_for(2, "cloze", 0);
    let (mut predicted, mut masked) = (0, 0);
    for _ in 0..300 {
        let cloze = task.draw(40, &mut rng).unwrap();
        for (position, &label) in cloze.labels.iter().enumerate() {
            if label == IGNORE_INDEX {
                continue;
            }
            assert!((cloze.passage_start..cloze.labels.len() - 1).contains(&position));
            assert!(position + 1 < cloze.start || position > cloze.end + 1);
            predicted += 1;
            let input = cloze.input_ids[position];
            assert!(i64::from(input) == label || input == SPECIALS.mask);
            masked += usize::from(input == SPECIALS.mask);
        }
    }
    // 12 % of about 36 free tokens in each of 300 passages, 85 % of them masked.
    assert!((1100..1500).contains(&predicted), "{predicted}");
    assert!((0.80..0.90).contains(&(f64::from(masked as u32) / f64::from(predicted))));
}

#[test]
fn settings_that_cannot_be_used_are_named() {
    let model = model(80);
    let refuse = |config: ClozeConfig| {
        let passages = vec![vec![(5..65).collect()]];
        ClozeTask::new(&model, SPECIALS, passages, 4, &config).err().unwrap().to_string()
    };
    let none = refuse(ClozeConfig { longest_answer: 0, ..Default::default() });
    assert!(none.contains("cloze.longest_answer"), "{none}");
    let swapped = refuse(ClozeConfig { neighbours: (9, 3), ..Default::default() });
    assert!(swapped.contains("cloze.neighbours"), "{swapped}");
    let more = refuse(ClozeConfig { masked: 1.5, ..Default::default() });
    assert!(more.contains("cloze.masked"), "{more}");
}

#[test]
fn held_out_passages_are_scored_alike_each_time_and_scores_are_kept() {
    let model = model(80);
    let held_out = [vec![(5..65).collect()], Vec::new()];
    let scored = |model| task(model).with_held_out(&held_out);
    let mut first = scored(&model);
    assert_eq!((first.evaluations_since_best(), first.scores().len()), (Some(0), 0));
    let none = first.state().unwrap();
    first.evaluate().unwrap();
    first.epoch_ended(0).unwrap();
    let [(_, one), (_, again)] = first.scores() else { panic!("{:?}", first.scores()) };
    assert_eq!((one[0], one.len()), (again[0], 2));
    assert!((3.0..6.0).contains(&one[0]) && one[1].is_nan(), "{one:?}");
    let mut resumed = scored(&model);
    resumed.restore(&none.into_iter().collect()).unwrap();
    assert!(resumed.scores().is_empty());
    resumed.restore(&first.state().unwrap().into_iter().collect()).unwrap();
    assert_eq!(resumed.scores()[1].1[0], again[0]);
    assert_eq!(task(&model).evaluations_since_best(), None);
}

#[test]
fn held_out_passages_are_guessed_by_how_often_tokens_occur() {
    let model = model(80);
    let passages = vec![vec![vec![5; 20], vec![6; 24]], vec![vec![7; 20]]];
    let task = ClozeTask::new(&model, SPECIALS, passages, 4, &ClozeConfig::default()).unwrap();
    assert!(task.unigrams(80).is_empty());
    let losses = task.with_held_out(&[vec![vec![6; 60]], vec![vec![6; 60]]]).unigrams(80);
    // 25 of 44 + 80 tokens, and one of 20 + 80.
    let expected = [(124.0_f64 / 25.0).ln(), 100.0_f64.ln()];
    let off = losses.iter().zip(expected).map(|(loss, exact)| (loss - exact).abs());
    assert!(losses.len() == 2 && off.fold(0.0, f64::max) < 1e-12, "{losses:?}");
}

#[test]
fn passages_by_tokens_are_drawn_by_their_length() {
    let model = model(80);
    let passages = vec![vec![(5..25).collect(), (25..80).collect()]];
    let config = ClozeConfig { by_tokens: true, ..ClozeConfig::default() };
    let task = ClozeTask::new(&model, SPECIALS, passages, 4, &config).unwrap();
    let mut rng = trainer::rng_for(4, "cloze", 0);
    let drawn = (0..1000).map(|_| task.draw(40, &mut rng).unwrap());
    let long = drawn.filter(|cloze| cloze.input_ids[cloze.passage_start..].len() > 21).count();
    // 55 of 75 tokens.
    assert!((680..790).contains(&long), "{long}");
}

#[test]
fn passages_too_short_for_an_answer_are_an_error() {
    let model = model(80);
    let short = vec![vec![vec![5, 6, 7]]];
    let mut task = ClozeTask::new(&model, SPECIALS, short, 4, &ClozeConfig::default()).unwrap();
    let rng = trainer::rng_for(3, "cloze", 0);
    let mut step = Step { batch: &[0, 1], number: 0, total: 1, micro_batch: None, rng };
    assert!(task.losses(&mut step).is_err());
}

#[test]
fn equal_tokens_attend_to_each_other_and_a_seed_decides_all() {
    let (first, again, other) = (model(60), model(60), model(60));
    mimetic_start(&first, 1).unwrap();
    mimetic_start(&again, 1).unwrap();
    mimetic_start(&other, 2).unwrap();
    let all = |model: &Model| -> Vec<Tensor> {
        model.named_parameters().into_iter().map(|(_, tensor)| tensor).collect()
    };
    assert_eq!(all(&first), all(&again));
    assert_ne!(all(&first), all(&other));
    // q·k of a vector with itself is positive: k is q but for the segments' direction.
    let parameters = first.named_parameters();
    let named = |end: &str| {
        let found = parameters.iter().find(|(name, _)| name.ends_with(end)).unwrap();
        found.1.detach()
    };
    let (query, key) =
        (named("layer.0.attention.self.query.weight"), named("layer.0.attention.self.key.weight"));
    let segment = named("token_type_embeddings.weight").get(1);
    assert!(key.matmul(&segment).abs().max().double_value(&[]) < 1e-5);
    assert!((query - key).linalg_matrix_rank(1e-4, false).int64_value(&[]) <= 1);
}

/// Where a run leaves its model.
const MODEL: &str = "seed-0/base/model";

/// A run with one thread and a small vocabulary; the text is sentences and paragraphs, without the
/// extracts, which take long to encode.
fn pretrain(folder: &Path, steps: u64) -> Command {
    let sources = "--extracts data/codex --sentences data/pud --paragraphs data/xquad";
    let choice = "--paragraph-copies 2 --shortest-extract 1000000";
    let text = format!("data.text={}", prepared(&format!("demo-data text {sources} {choice}")));
    let mut command = program("pretrain-base");
    command.args(["examples/pretrain-base/recipe.toml", "--out"]).arg(folder);
    let steps = format!("training.steps={steps}");
    for set in [
        &text,
        "run.threads=1",
        "vocabulary.size=1500",
        "vocabulary.bytes_per_language=40000",
        "vocabulary.label_copies=20",
        "vocabulary.alphabet=1000",
        "training.batch_size=4",
        &steps,
    ] {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn recipe_pretrain_base_gives_the_same_bytes_twice() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        let text = succeed(pretrain(folder.path(), 50));
        assert!(text.contains("| seed | loss |"), "{text}");
    }
    for file in ["config.json", "model.safetensors", "heads.safetensors", "tokenizer.json"] {
        let [first, again] =
            folders.each_ref().map(|folder| std::fs::read(folder.path().join(MODEL).join(file)));
        assert!(first.unwrap() == again.unwrap(), "two runs of one seed differ in {file}");
    }
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        let [ours, theirs] =
            [folders[0].path().join(MODEL), crate::common::root().join("data/base")]
                .map(|folder| std::fs::read_to_string(folder.join(file)).unwrap());
        assert_eq!(ours, theirs, "{file} of the embedded base");
    }
}

#[test]
fn recipe_pretrain_base_refuses_the_folder_of_another_recipe() {
    let folder = tempfile::tempdir().unwrap();
    let stored = folder.path().join("recipe.toml");
    succeed(pretrain(folder.path(), 1));
    let before = std::fs::read_to_string(&stored).unwrap();
    let error = refuse(&pretrain(folder.path(), 2).output().unwrap());
    assert!(error.contains("training.steps = 1 there, 2 now"), "{error}");
    assert_eq!(std::fs::read_to_string(&stored).unwrap(), before);
    // How a run is watched is no other recipe.
    let mut again = pretrain(folder.path(), 1);
    again.args(["--set", "training.log_steps=7", "--set", "run.threads=2"]);
    succeed(again);
    let output = pretrain(folder.path(), 1).args(["--set", "threads=2"]).output().unwrap();
    assert!(refuse(&output).contains("unknown key `threads`"));
}

/// The form on more text, a small encoder of it, with the embedded pages in place of the corpus.
fn pretrain_real(folder: &Path) -> Command {
    let sources = "--extracts data/codex --sentences data/pud --documents data/libreoffice-help";
    let choice = "--held-out-one-in 40 --shortest-extract 1000000";
    let text = format!("data.text={}", prepared(&format!("demo-data text {sources} {choice}")));
    let mut command = program("pretrain-base");
    command.args(["examples/pretrain-base/real.toml", "--out"]).arg(folder);
    for set in [
        &text,
        "run.threads=1",
        "vocabulary.size=1500",
        "vocabulary.bytes_per_language=40000",
        "vocabulary.alphabet=1000",
        "model.hidden_size=32",
        "model.num_hidden_layers=2",
        "model.intermediate_size=64",
        "cloze.first_length=24",
        "cloze.last_length=80",
        "training.batch_size=4",
        "training.steps=5",
        "training.evaluation_steps=2",
        "training.checkpoint_steps=3",
    ] {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn recipe_pretrain_base_measures_documents_that_are_held_out() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let [whole, broken] = folders.each_ref().map(|folder| folder.path().join("run"));
    let text = succeed(pretrain_real(&whole));
    assert!(text.contains("| seed | loss |"), "{text}");
    let table = std::fs::read_to_string(whole.join("table.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|line| line.starts_with("| seed 0, ")).collect();
    assert_eq!(rows.len(), 3, "{table}");
    // Ar to zh with the mean, about the logarithm of the vocabulary's size: little was learned.
    let cells = rows[2].strip_prefix("| seed 0, 5 updates |").unwrap().trim_matches(['|', ' ']);
    let losses: Vec<f64> = cells.split('|').map(|loss| loss.trim().parse().unwrap()).collect();
    assert!(losses.len() == 8 && losses.iter().all(|loss| (6.0..8.0).contains(loss)), "{table}");
    assert!(table.contains("| token frequencies of the language |"), "{table}");

    kill_at(pretrain_real(&broken), &broken.join("seed-0/base/pretrain/checkpoints/step-00000003"));
    succeed(pretrain_real(&broken));
    for file in ["table.md", "seed-0/base/model/model.safetensors", "seed-0/base/tokenizer.json"] {
        let [first, again] =
            [&whole, &broken].map(|folder| std::fs::read(folder.join(file)).unwrap());
        assert!(first == again, "{file} of a run that was stopped is another");
    }
    let weights = torch_ext::TensorFile::open(whole.join(MODEL).join("model.safetensors")).unwrap();
    assert!(weights.names().iter().all(|name| weights.dtype(name).as_deref() == Some("BF16")));
}
