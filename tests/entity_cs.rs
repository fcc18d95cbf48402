//! EntityCS at a few steps: an interrupted run, the layers that stay, and bad input.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::path::Path;
use std::process::Command;

use crate::common::{kill_at, program, refuse, root, succeed, summary};

fn entity_cs(folder: &Path, out: &str) -> Command {
    let mut command = program("entity-cs");
    command.arg("examples/entity-cs/small.toml").arg("--out").arg(folder.join(out));
    for set in [
        "run.arms=[\"base\",\"wep\",\"pep-ms-mlm\"]",
        "pretraining.steps=8",
        "pretraining.batch_size=4",
        "pretraining.checkpoint_steps=2",
        "pretraining.log_steps=1",
        "pretraining.groups=[{prefixes=[\"roberta.encoder.layer.0.\"],frozen=true}]",
        "languages.batches_per_round=5",
    ] {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn recipe_entity_cs_killed_and_resumed_equals_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    succeed(entity_cs(folder.path(), "whole"));
    let table = std::fs::read_to_string(folder.path().join("whole/table.md")).unwrap();
    assert!(table.contains("label retrieval P@1, held out"), "{table}");
    let broken = folder.path().join("broken/seed-0/pep-ms-mlm/pretrain/checkpoints");
    kill_at(entity_cs(folder.path(), "broken"), &broken.join("step-00000004"));
    succeed(entity_cs(folder.path(), "broken"));
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    assert_eq!(summary(&whole), summary(&broken));
    let weights = |run: &Path, arm: &str| {
        let path = run.join("seed-0").join(arm).join("model/model.safetensors");
        torch_ext::read_tensors(path).unwrap()
    };
    let (a, b) = (weights(&whole, "pep-ms-mlm"), weights(&broken, "pep-ms-mlm"));
    assert_eq!(a, b);
    // What is frozen stays as it was bit for bit, and the rest does not.
    let start = torch_ext::read_tensors(root().join("data/base/model.safetensors")).unwrap();
    let (mut frozen, mut trained) = (0, 0);
    for (name, tensor) in &a {
        let Some(before) = start.get(name) else { continue };
        let same = tensor == before;
        if name.starts_with("roberta.encoder.layer.0.") {
            assert!(same, "{name}");
            frozen += 1;
        } else if name.starts_with("roberta.encoder.layer.1.") && name.ends_with("weight") {
            assert!(!same, "{name}");
            trained += 1;
        }
    }
    assert!(frozen > 10 && trained > 5, "{frozen} frozen, {trained} trained");
}

#[test]
fn recipe_entity_cs_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let refuse = |set: &str| {
        let mut command = entity_cs(folder.path(), "refused");
        refuse(&command.args(["--set", set]).output().unwrap())
    };
    let held_out = refuse("data.held_out=1.0");
    assert!(held_out.contains("data.held_out = 1: must be from 0 to 1"), "{held_out}");
    let texts = refuse("data.texts=nowhere.jsonl");
    assert!(texts.contains("nowhere.jsonl"), "{texts}");
    let languages = refuse("switch.languages=[\"en\"]");
    assert!(languages.contains("languages"), "{languages}");
    assert!(!folder.path().join("refused/seed-0").exists());
}
