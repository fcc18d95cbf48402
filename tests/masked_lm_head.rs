//! Tests of the masked-LM head with a few steps: frozen encoder, resumed training, rejected input.
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use xlmr_model::{Head, LoadOptions, Pretrained};

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, prepare, root, small_recipe, succeed,
};

/// Returns the command of the recipe on the embedded encoder, with a few steps and ten held-out
/// sentences, whose file is written to `folder`.
fn small_run(folder: &Path, out: &str) -> Command {
    let sentences = std::fs::read_to_string(root().join("data/pud/hi.tsv")).unwrap();
    let sentences: String = sentences.split_inclusive('\n').take(10).collect();
    let held_out = folder.join("held-out");
    std::fs::create_dir_all(&held_out).unwrap();
    std::fs::write(held_out.join("hi.tsv"), sentences).unwrap();
    let text = prepare("demo-data text --extracts data/codex --paragraphs data/xquad");
    let mut command = small_recipe("masked-lm-head/recipe", &folder.join(out));
    command.set_path("data.held_out", &held_out);
    command.set_all([
        &format!("data.text={text}"),
        "model.path=data/base",
        "run.precision=f32",
        "run.threads=1",
        "data.languages=[\"hi\", \"vi\"]",
        "data.held_out_languages=[\"hi\"]",
        "data.selection_sentences=4",
        "max_length=40",
        "training.batch_size=4",
        "training.steps=6",
        "training.evaluation_steps=2",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
        "arms.all.steps=2",
        "arms.all.learning_rate=1e-2",
        "arms.all-after-head.steps=2",
        "arms.all-after-head-slow.steps=2",
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
    let run = |out: &str| small_run(folder.path(), out);
    succeed(run("whole"));
    let path = |name: &str| folder.path().join("whole").join(name);
    let table = std::fs::read_to_string(path("table.md")).unwrap();
    assert!(table.contains("| masked-LM loss, nats | hi | average |"), "{table}");
    // Only the arm that trains the encoder changes its vectors.
    let summary = std::fs::read_to_string(path("summary.json")).unwrap();
    let summary: serde_json::Value = serde_json::from_str(&summary).unwrap();
    let cosine = |arm: &str| {
        let scores = &summary["scores"]["cosine to the encoder before"][arm];
        scores["hi"]["mean"].as_f64().unwrap()
    };
    assert_eq!(["untrained", "head"].map(cosine), [1.0; 2]);
    assert!(cosine("all") < 0.9, "{table}");

    let before = parameters(&root().join("data/base"));
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
    let [after_head, head_alone] = ["all-after-head", "head"].map(trained);
    assert_ne!(after_head["lm_head.dense.weight"], head_alone["lm_head.dense.weight"]);

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
        ("data.selection_sentences=10", "must be less than the 10 sentences of hi"),
        ("arms.all.start=all-after-head", "must be an arm that starts from the encoder"),
        ("arms.head.trained=decoder", "decoder"),
        ("max_length=1000", "max_length = 1000"),
    ];
    expect_invalid(|| small_run(folder.path(), "run"), &cases);
    assert!(!folder.path().join("run/seed-0").exists());
}
