//! Tests of knowledge adapters with a few steps: complete and interrupted runs, and rejected input.
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::common::{
    CommandExt, assert_contains, assert_equal_files, expect_failure, fact_questions, kill_at,
    prepare, root, small_recipe, succeed, summary,
};

/// Returns a folder with text pairs for all four adapters in two languages.
fn pair_folder() -> String {
    let sources = "--kg data/demo/kg --entities data/codex --languages en,de";
    prepare(&format!("kg-triples pairs {sources} --kinds ep,tp,es,ts --count 60 --hold-out 0.2"))
}

/// Returns the small recipe's command with two languages, few steps and small batches. Fine-tuning
/// freezes the encoder.
fn small_run(out: &Path) -> Command {
    let mut command = small_recipe("knowledge-adapters", out);
    let questions = fact_questions();
    command.set_all([
        format!("data.pairs={}", pair_folder()),
        format!("data.train={questions}/train-context-en-question-en.json"),
        format!("data.evaluation={questions}"),
    ]);
    command.set_all([
        "run.threads=1",
        "languages=[\"en\", \"de\"]",
        "language_model.languages=[\"en\", \"de\"]",
        "language_model.sentences=4",
        "knowledge.rounds=1",
        "knowledge.phrases.steps=2",
        "knowledge.phrases.batch_size=6",
        "knowledge.phrases.checkpoint_steps=1",
        "knowledge.sentences.steps=1",
        "knowledge.sentences.batch_size=4",
        "fusion.rounds=1",
        "fusion.phrases.steps=1",
        "fusion.phrases.batch_size=4",
        "fusion.phrases.checkpoint_steps=1",
        "fusion.sentences.steps=1",
        "fusion.sentences.batch_size=4",
        "fine_tuning.steps=2",
        "fine_tuning.batch_size=4",
        "fine_tuning.checkpoint_steps=1",
        "fine_tuning.groups=[{roles=[\"encoder\"],frozen=true}]",
    ]);
    command
}

fn run_arms(out: &Path, names: &str) -> Command {
    let mut command = small_run(out);
    command.args(["--arms", names]);
    command
}

#[test]
fn recipe_knowledge_adapters_are_evaluated_with_controls() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let text = succeed(run_arms(&out, "none,all-parameters,one-adapter,ep"));
    assert_contains(&text, &["| the base, mapped |", "| EP |", "objects, held out: "]);
    let tables = std::fs::read_to_string(out.join("table.md")).unwrap();
    let loss_table = tables.split("| masked-LM loss, sentences |").nth(1).unwrap();
    assert!(loss_table.contains("| one adapter for all | "), "{tables}");
    let results = summary(&out);
    for (arm, updates) in [("none", 0), ("all-parameters", 6), ("one-adapter", 6), ("ep", 2)] {
        assert_eq!(results["arms"][arm]["updates"], json!(updates), "{arm}");
        let row = &results["arms"][arm]["found"];
        for setting in ["labels, trained", "labels, held out", "objects, held out"] {
            assert!(row[setting]["hits@1"]["mean"].is_f64(), "{arm}, {setting}: {row}");
        }
    }
    // The masked-LM loss of each trained arm differs from the loss of the untrained base model.
    let loss = |arm: &str| results["arms"][arm]["loss"]["de"]["mean"].as_f64().unwrap();
    let trained_arms = ["all-parameters", "one-adapter", "ep"];
    assert!(trained_arms.iter().all(|arm| loss(arm) != loss("none")), "{results}");

    // The saved reader of `ep` contains its adapter. The encoder layers equal the base model's
    // layers, except in the arm `all-parameters`.
    let seed_folder = out.join("seed-0");
    assert!(seed_folder.join("ep/model/adapters/ep/adapter.safetensors").exists());
    let weights = |arm: &str| {
        torch_ext::read_tensors(seed_folder.join(arm).join("model/model.safetensors")).unwrap()
    };
    let base = torch_ext::read_tensors(root().join("data/base/model.safetensors")).unwrap();
    for (arm, is_equal) in [("ep", true), ("one-adapter", true), ("all-parameters", false)] {
        let (mut equal, mut count) = (0, 0);
        for (name, tensor) in weights(arm) {
            let Some(before) = base.get(&name).filter(|_| name.contains(".layer.")) else {
                continue;
            };
            equal += usize::from(*before == tensor);
            count += 1;
        }
        assert!(count > 10 && (equal == count) == is_equal, "{arm}: {equal} of {count}");
    }
}

#[test]
fn recipe_knowledge_adapters_resume() {
    let folder = tempfile::tempdir().unwrap();
    let (uninterrupted, interrupted) = (folder.path().join("whole"), folder.path().join("broken"));
    // Only the fusion and the head are fine-tuned.
    let run_fused = |out: &Path| {
        let mut command = run_arms(out, "fused");
        command.set_all(["fine_tuning.groups=[{roles=[\"encoder\",\"adapters\"],frozen=true}]"]);
        command
    };
    succeed(run_fused(&uninterrupted));
    for stage in ["adapter-ep/phrases-0", "fused/phrases-0", "fused/fine-tune"] {
        let checkpoint = interrupted.join("seed-0").join(stage).join("checkpoints/step-00000001");
        kill_at(run_fused(&interrupted), &checkpoint);
    }
    succeed(run_fused(&interrupted));
    let results = summary(&uninterrupted);
    assert_eq!(results, summary(&interrupted));
    // The updates are two each for EP and TP, one each for ES and TS, and four for the fusion of
    // the four adapters.
    assert_eq!(results["arms"]["fused"]["updates"], json!(10));
    let files = [
        "seed-0/adapter-ep/model/adapter.safetensors",
        "seed-0/fused/model/model.safetensors",
        "seed-0/fused/fine-tune/metrics.jsonl",
    ];
    assert_equal_files([&uninterrupted, &interrupted], &files);
    // Training the fusion does not change the adapters.
    for name in ["ep", "tp", "es", "ts"] {
        let separate = format!("adapter-{name}/model/adapter.safetensors");
        let fused = format!("fused/model/adapters/{name}/adapter.safetensors");
        // The separate adapters were saved from an encoder without a head, so their parameter names
        // lack the prefix `roberta.`.
        let [separate, fused] = [separate, fused].map(|file| {
            let tensors = torch_ext::read_tensors(uninterrupted.join("seed-0").join(file)).unwrap();
            let name = |name: String| name.trim_start_matches("roberta.").to_owned();
            let entries = tensors.into_iter().map(|(key, tensor)| (name(key), tensor));
            entries.collect::<BTreeMap<_, _>>()
        });
        assert!(separate == fused && separate.len() == 12, "{name}: {}", separate.len());
    }
}

#[test]
fn recipe_knowledge_adapters_reject_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let assert_error = |setting: &str, pieces: &[&str]| {
        let mut command = run_arms(&folder.path().join("run"), "ep");
        command.set_all([setting]);
        let error = expect_failure(&command.output().unwrap());
        assert_contains(&error, pieces);
    };
    assert_error("data.pairs=", &["data.pairs", "kg-triples pairs"]);
    assert_error("data.pairs=data/demo/kg", &["data.pairs"]);
    assert_error("arms.ep.adapters=[\"ep\", \"ep\"]", &["arms.ep.adapters", "twice"]);
    assert_error("arms.ep.union=adapter", &["arms.ep", "either adapters or union"]);
    assert_error("adapter.reduction=0", &["adapter.reduction = 0"]);
    assert_error("model.adapters.lora.rank=8", &["model.adapters", "set the adapters in `arms`"]);
    assert_error("fusion.phrase_share=1.5", &["phrase_share = 1.5"]);
    assert_error("pairs.sentence_length=400", &["pairs.sentence_length = 400"]);
    assert_error("language_model.languages=[\"fi\"]", &["fi.tsv"]);
    assert!(!folder.path().join("run/seed-0").exists());
}
