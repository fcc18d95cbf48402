//! Tests of the masked-LM head with a few steps: frozen encoder, resumed training, rejected input.
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use xlmr_model::{Head, LoadOptions, Pretrained};

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, prepare, small_recipe, succeed,
};

/// Returns the command of the recipe on the embedded encoder, with a few steps and sentences.
fn small_run(out: &Path) -> Command {
    let text = prepare("demo-data text --extracts data/codex --paragraphs data/xquad");
    let mut command = small_recipe("masked-lm-head/recipe", out);
    command.set_all([
        &format!("data.text={text}"),
        "model.path=data/base",
        "run.precision=f32",
        "run.threads=1",
        "data.languages=[\"hi\", \"vi\"]",
        "data.held_out_languages=[\"hi\"]",
        "data.selection_sentences=985",
        "max_length=40",
        "training.batch_size=4",
        "training.steps=6",
        "training.evaluation_steps=2",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
        "arms.all.steps=2",
    ]);
    command
}

/// Reads the parameters of a model folder.
fn parameters(folder: &Path) -> BTreeMap<String, tch::Tensor> {
    let options = LoadOptions::default();
    let (model, report) =
        Pretrained::load(folder, &[Head::MaskedLm], tch::Device::Cpu, options).unwrap();
    assert_eq!(report.missing, Vec::<String>::new());
    model.model.named_parameters().into_iter().collect()
}

#[test]
fn recipe_masked_lm_head_trains_only_the_head() {
    let folder = tempfile::tempdir().unwrap();
    let run = |out: &str| small_run(&folder.path().join(out));
    succeed(run("whole"));
    let path = |name: &str| folder.path().join("whole").join(name);
    let table = std::fs::read_to_string(path("table.md")).unwrap();
    assert!(table.contains("| masked-LM loss, nats | hi | average |"), "{table}");
    // Only the arm that trains the encoder changes its vectors.
    for row in ["| untrained head | 1.000 | 1.000 |", "| head, encoder frozen | 1.000 | 1.000 |"] {
        assert!(table.contains(row), "{table}");
    }
    assert_eq!(table.matches("| 1.000 |").count(), 2, "{table}");

    let before = parameters(Path::new("data/base"));
    let trained = |arm: &str| parameters(&path(&format!("seed-0/{arm}/model")));
    let changed = |arm: &str| -> Vec<String> {
        let after = trained(arm);
        let names = before.iter().filter(|(name, tensor)| after[*name] != **tensor);
        names.map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(changed("untrained"), Vec::<String>::new());
    let head = changed("head");
    assert!(head.iter().all(|name| name.starts_with("lm_head.")), "{head:?}");
    assert!(head.iter().any(|name| name == "lm_head.dense.weight"), "{head:?}");
    assert!(changed("all").iter().any(|name| name.contains("word_embeddings")));

    let arm = "seed-0/head";
    let broken = folder.path().join("broken").join(arm);
    kill_at(run("broken"), &broken.join("train/checkpoints/step-00000004"));
    succeed(run("broken"));
    let files = ["model/model.safetensors", "train/metrics.jsonl", "train/selection.json"];
    assert_equal_files([&path(arm), &broken], &files);
}

#[test]
fn recipe_masked_lm_head_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("data.languages=[]", "data.languages = []: give languages"),
        ("data.held_out_languages=[\"vi\"]", "vi.tsv"),
        ("data.selection_sentences=0", "data.selection_sentences = 0"),
        ("data.selection_sentences=1000", "must be less than the 1000 sentences of hi"),
        ("arms.head.trained=decoder", "decoder"),
        ("max_length=1000", "max_length = 1000"),
    ];
    expect_invalid(|| small_run(&folder.path().join("run")), &cases);
    assert!(!folder.path().join("run/seed-0").exists());
}
