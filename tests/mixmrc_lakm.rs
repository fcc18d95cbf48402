//! mixMRC + LAKM at a few steps, an interrupted run, a user's own files, and what is refused.
#![allow(clippy::unwrap_used)] // helpers of tests
mod common;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::common::{kill_at, program, refuse, root, succeed, summary};

/// The small recipe, six steps of a few rows in two languages.
fn small(out: &Path) -> Command {
    let mut command = program("mixmrc-lakm");
    command.arg("examples/mixmrc-lakm/small.toml").arg("--out").arg(out);
    for set in [
        "run.threads=1",
        "languages=[\"en\", \"de\"]",
        "evaluation.contexts=[\"en\", \"de\"]",
        "data.facts.items=40",
        "data.search.documents.languages=[\"de\"]",
        "training.steps=6",
        "training.batch_size=4",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
    ] {
        command.args(["--set", set]);
    }
    command
}

#[test]
fn recipe_mixmrc_takes_its_tasks_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small(&out);
    command
        .args(["--set", "run.arms=[\"baseline\", \"mixmrc\", \"mixmrc-lakm\", \"lakm-ngrams\"]"]);
    let text = succeed(command);
    for piece in ["translated: ", "mixed: ", "| mixMRC + LAKM |", "| Random n-grams |"] {
        assert!(text.contains(piece), "no {piece:?} in:\n{text}");
    }
    let found = summary(&out);
    // Six updates on questions each; a batch of phrases joins every round on top.
    for (arm, steps) in [("baseline", 6), ("mixmrc", 6), ("mixmrc-lakm", 9), ("lakm-ngrams", 12)] {
        assert_eq!(found["arms"][arm]["steps"], json!(steps), "{arm}");
        assert!(found["arms"][arm]["off_diagonal"]["f1"].is_f64());
        assert!(out.join("matrix").join(arm).join("matrix.html").exists());
    }
    let lanes = |arm: &str| -> Vec<String> {
        let path = out.join(format!("seed-0/{arm}/train/metrics.jsonl"));
        let text = std::fs::read_to_string(path).unwrap();
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["parts"].as_object().unwrap().keys().next().unwrap().clone()
        };
        text.lines().map(line).collect()
    };
    assert_eq!(
        lanes("mixmrc-lakm"),
        ["loss/mrc/span", "loss/mixed/span", "loss/lakm/mlm"].repeat(3)
    );
    assert_eq!(lanes("baseline"), ["loss/span"; 6]);
}

#[test]
fn recipe_mixmrc_killed_and_resumed_equals_a_whole_run() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, broken) = (folder.path().join("whole"), folder.path().join("broken"));
    let arm = |out: &Path| {
        let mut command = small(out);
        command.args(["--set", "run.arms=[\"mixmrc-lakm\"]"]);
        command
    };
    succeed(arm(&whole));
    kill_at(arm(&broken), &broken.join("seed-0/mixmrc-lakm/train/checkpoints/step-00000004"));
    succeed(arm(&broken));
    assert_eq!(summary(&whole), summary(&broken));
    for file in ["model/model.safetensors", "train/metrics.jsonl"] {
        let read = |out: &Path| std::fs::read(out.join("seed-0/mixmrc-lakm").join(file)).unwrap();
        assert!(read(&whole) == read(&broken), "{file} differs");
    }
}

#[test]
fn recipe_mixmrc_at_paper_scale_reads_what_the_tools_write() {
    // Questions, translations and evaluation files as a user has them: here those that a small run
    // made.
    let folder = tempfile::tempdir().unwrap();
    let made = folder.path().join("made");
    let mut command = small(&made);
    command.args(["--set", "run.arms=[\"mixmrc\"]", "--set", "data.facts.items=12"]);
    succeed(command);
    let questions = made.join("questions");
    let out = folder.path().join("run");
    let paper = |extra: &[String]| {
        let mut command = program("mixmrc-lakm");
        command.args(["examples/mixmrc-lakm/recipe.toml", "--model", "data/base", "--out"]);
        command.arg(&out).args(["--set", "run.threads=1", "--set", "windows.max_length=158"]);
        command.args(["--set", "windows.doc_stride=32", "--set", "lakm_max_length=128"]);
        command.args(["--set", "training.steps=2"]);
        command.args(["--set", "languages=[\"en\", \"de\"]", "--set", "training.batch_size=4"]);
        command.args(["--set", "evaluation.contexts=[\"en\", \"de\"]"]);
        command.args(["--set", "evaluation.split=test", "--set", "run.arms=[\"mixmrc\"]"]);
        for set in extra {
            command.args(["--set", set]);
        }
        command
    };
    let train = questions.join("train-context-en-question-en.json");
    let own = [
        format!("data.train={}", train.display()),
        format!("data.translated={}", questions.display()),
        format!("data.evaluation={}", questions.display()),
    ];
    let text = succeed(paper(&own));
    assert!(text.contains("| mixmrc |"), "{text}");
    // Without a key, its name and what it takes.
    let error = refuse(&paper(&own[..2]).output().unwrap());
    assert!(error.contains("data.evaluation: is not set"), "{error}");
    let without: Vec<String> =
        own.iter().filter(|set| !set.contains("translated")).cloned().collect();
    let error = refuse(&paper(&without).output().unwrap());
    assert!(error.contains("data.translated: is not set"), "{error}");
    let mut lakm = paper(&own);
    lakm.args(["--set", "run.arms=[\"lakm\"]"]);
    let error = refuse(&lakm.output().unwrap());
    assert!(error.contains("data.phrases: is not set"), "{error}");
}

#[test]
fn recipe_mixmrc_takes_more_arms_and_another_evaluation() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = |extra: &[&str]| {
        let mut command = small(&out);
        command.args(extra);
        succeed(command);
        summary(&out)
    };
    let written = |arm: &str| {
        let path = out.join(format!("seed-0/{arm}/model/model.safetensors"));
        std::fs::metadata(path).unwrap().modified().unwrap()
    };
    let first = run(&["--arms", "english"]);
    let before = written("english");
    let both = run(&["--arms", "english,mixmrc", "--seeds", "2"]);
    assert_eq!(both["seeds"], json!([0, 1]));
    assert!(both["arms"]["mixmrc"]["gxlt"]["f1_sd"].is_f64());
    // Contexts in another order: the model answers again and is not trained again.
    let reordered = run(&["--arms", "english", "--set", "evaluation.contexts=[\"de\", \"en\"]"]);
    assert_eq!(reordered["arms"]["english"]["gxlt"], first["arms"]["english"]["gxlt"]);
    assert_eq!(written("english"), before);
}

#[test]
fn recipe_mixmrc_names_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (set, names) in [
        ("languages=[\"de\", \"en\"]", "languages = [\"de\", \"en\"]"),
        ("rounds.mixed=0", "rounds.mixed=0"),
        ("lakm_max_length=4000", "lakm_max_length: 4000"),
        ("windows.max_length=40", "max_length = 40"),
        ("data.kg=nowhere", "data.kg = nowhere"),
        ("data.facts.kg=nowhere", "is now data.kg"),
        ("run.arms=[\"nobody\"]", "nobody"),
        ("evaluation.split=train", "evaluation.split = \"train\""),
        ("training.learning_rat=1", "learning_rat"),
    ] {
        let mut command = small(&out);
        command.args(["--set", set]);
        let error = refuse(&command.output().unwrap());
        assert!(error.contains(names), "{set}: {error}");
        assert!(!out.exists(), "{set} left {}", out.display());
    }
    assert!(root().join("examples/mixmrc-lakm/recipe.toml").exists());
}
