//! Tests of EntityCS with a few steps: frozen layers, an interrupted run and rejected input.
use std::path::Path;
use std::process::Command;

use crate::common::{
    CommandExt, assert_equal_files, expect_invalid, kill_at, root, small_recipe, succeed,
    switched_texts,
};

/// Returns the small recipe's command with eight steps and small batches. The masked-LM loss is
/// computed on the first four sentences of PUD in each language.
fn small_run(folder: &Path, out: &str) -> Command {
    let sentences = folder.join("sentences");
    std::fs::create_dir_all(&sentences).unwrap();
    for language in ["ar", "de", "en", "es", "zh"] {
        let name = format!("{language}.tsv");
        let text = std::fs::read_to_string(root().join("data/pud").join(&name)).unwrap();
        let first_lines: Vec<&str> = text.lines().take(4).collect();
        std::fs::write(sentences.join(name), first_lines.join("\n") + "\n").unwrap();
    }
    let mut command = small_recipe("entity-cs", &folder.join(out));
    command.set_path("data.sentences", &sentences);
    let folder = switched_texts("--languages ar,de,es,zh --by-language --hold-out 0.2");
    command.set_path("data.switched", &folder);
    command.set_all([
        "run.arms=[\"base\",\"wep\",\"pep-ms-mlm\"]",
        "pretraining.steps=8",
        "pretraining.batch_size=4",
        "pretraining.checkpoint_steps=2",
        "pretraining.log_steps=1",
        "pretraining.groups=[{roles=[\"layers.0\"],frozen=true}]",
        "languages.batches_per_round=5",
    ]);
    command
}

#[test]
fn recipe_entity_cs_trains_all_layers_except_frozen_ones() {
    let folder = tempfile::tempdir().unwrap();
    succeed(small_run(folder.path(), "whole"));
    let table = std::fs::read_to_string(folder.path().join("whole/table.md")).unwrap();
    assert!(table.contains("label retrieval P@1, held out"), "{table}");
    assert!(table.contains("| masked-LM loss, sentences | ar | de | en | es | zh |"), "{table}");
    let path = folder.path().join("whole/seed-0/pep-ms-mlm/model/model.safetensors");
    let tensors = torch_ext::read_tensors(path).unwrap();
    // The frozen layer 0 is unchanged bit for bit; the weights of layer 1 are changed.
    let start = torch_ext::read_tensors(root().join("data/base/model.safetensors")).unwrap();
    let (mut n_frozen, mut n_trained) = (0, 0);
    for (name, tensor) in &tensors {
        let Some(before) = start.get(name) else { continue };
        let is_unchanged = tensor == before;
        if name.starts_with("roberta.encoder.layer.0.") {
            assert!(is_unchanged, "{name}");
            n_frozen += 1;
        } else if name.starts_with("roberta.encoder.layer.1.") && name.ends_with("weight") {
            assert!(!is_unchanged, "{name}");
            n_trained += 1;
        }
    }
    assert!(n_frozen > 10 && n_trained > 5, "{n_frozen}, {n_trained}");
}

#[test]
fn recipe_entity_cs_streams_and_selects_the_lowest_perplexity() {
    let folder = tempfile::tempdir().unwrap();
    let switched = switched_texts("--languages de,zh --by-language --validation 6");
    let run = |out: &str| {
        let mut command = small_run(folder.path(), out);
        command.args(["--arms", "pep-ms-mlm"]).set_path("data.switched", &switched);
        command.set_all([
            "pretraining.evaluation_steps=3",
            "pretraining.learning_rate=0.05",
            "shuffle={lines=7}",
        ]);
        command
    };
    let trial = |out: &str| folder.path().join(out).join("seed-0/pep-ms-mlm");
    succeed(run("whole"));
    kill_at(run("broken"), &trial("broken").join("pretrain/checkpoints/step-00000004"));
    succeed(run("broken"));
    let files = ["model/model.safetensors", "pretrain/selection.json", "pretrain/metrics.jsonl"];
    assert_equal_files([&trial("whole"), &trial("broken")], &files);
    let selection: serde_json::Value =
        experiment::read_json(trial("whole").join("pretrain/selection.json")).unwrap();
    let scores = selection["scores"].as_array().unwrap();
    let total_loss = |scores: &serde_json::Value| {
        let scores = scores.as_object().unwrap();
        assert_eq!(scores.keys().collect::<Vec<_>>(), ["de", "en", "zh"]);
        scores.values().map(|value| value.as_f64().unwrap()).sum::<f64>()
    };
    let total_losses: Vec<f64> = scores.iter().map(total_loss).collect();
    assert!(total_losses.len() >= 2, "{total_losses:?}");
    let min_loss = total_losses.iter().copied().fold(f64::INFINITY, f64::min);
    let evaluation = usize::try_from(selection["evaluation"].as_u64().unwrap()).unwrap();
    assert_eq!(total_losses[evaluation], min_loss, "{total_losses:?}");
}

#[test]
fn recipe_entity_cs_reports_invalid_settings() {
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("data.switched=", "data.switched: is not set: give an output folder of `kg-triples"),
        ("data.switched=nowhere.jsonl", "nowhere.jsonl"),
        ("task.masking.mentions.probability=nan", "task.masking.mentions.probability = NaN"),
        (
            "arms.wep.masking={mentions={corruption={mask=1e30}}}",
            "arms.wep.masking.mentions.corruption.mask = 1",
        ),
    ];
    expect_invalid(|| small_run(folder.path(), "run"), &cases);
    assert!(!folder.path().join("run/seed-0").exists());
}
