//! The recipe of evidence at a few steps, an interrupted run, and what is refused.
use std::path::Path;
use std::process::Command;

use mlqa_eval::{Dataset, Predictions};
use serde_json::json;

use crate::common::{evidence, program, refuse, root, small_data, succeed, summary};

/// The small recipe, six steps of a few rows in two languages.
fn small(out: &Path) -> Command {
    let mut command = program("evidence");
    command.args(["examples/evidence/small.toml", "--model", "data/base", "--out"]).arg(out);
    for set in [
        "run.threads=1",
        "languages=[\"en\", \"de\"]",
        "evaluation.contexts=[\"en\", \"de\"]",
        "evaluation.questions=\"all\"",
        "windows.max_length=158",
        "windows.doc_stride=32",
        "training.steps=6",
        "training.batch_size=4",
        "training.checkpoint_steps=2",
        "training.log_steps=1",
    ] {
        command.args(["--set", set]);
    }
    for set in small_data("evidence") {
        command.args(["--set", &set]);
    }
    command
}

#[test]
fn recipe_evidence_marks_sentences_that_are_scored_beside_guesses() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = small(&out);
    command.args(["--arms", "first,shared-words,english,found"]);
    let text = succeed(command);
    let head = "| sentences right, % | en | de | same language | two languages |\n";
    for piece in [head, "| Guess: the first sentence |", "| English alone |"] {
        assert!(text.contains(piece), "no {piece:?} in:\n{text}");
    }
    // Of the labels that arms train on in other languages, how many are found and right.
    let tables = std::fs::read_to_string(out.join("table.md")).unwrap();
    let placed = tables.split("training labels found").nth(1).unwrap();
    assert!(placed.contains("| Labels by search, else by order | 100, "), "{placed}");
    assert!(!placed.contains("English alone"), "{placed}");
    let found = summary(&out);
    for (arm, steps) in [("first", 0), ("shared-words", 0), ("english", 6), ("found", 6)] {
        assert_eq!(found["arms"][arm]["steps"], json!(steps), "{arm}");
        assert!(found["arms"][arm]["two_languages"]["em"].is_f64());
    }
    // What is marked is a sentence of the passage, and the guess of shared words is no first one.
    let data = evidence();
    let name = "test-context-de-question-en.json";
    let questions = Dataset::read(Path::new(&data).join(name)).unwrap().questions;
    let of = |arm: &str| {
        let path = out.join(format!("seed-0/{arm}/predictions/{name}"));
        Predictions::read(path).unwrap().0
    };
    let (first, shared, tagged) = (of("first"), of("shared-words"), of("found"));
    for one in &questions {
        let sentences: Vec<&str> = qa_translate::sentences(&one.context)
            .into_iter()
            .map(|span| {
                let at = |k: usize| one.context.char_indices().nth(k).map(|(byte, _)| byte);
                let end = at(span.end).unwrap_or(one.context.len());
                &one.context[at(span.start).unwrap()..end]
            })
            .collect();
        assert_eq!(first[&one.id], sentences[0]);
        assert!(sentences.contains(&tagged[&one.id].as_str()), "{}", one.id);
        assert!(sentences.contains(&shared[&one.id].as_str()), "{}", one.id);
    }
    assert!(questions.iter().any(|one| first[&one.id] != shared[&one.id]));
}

#[test]
fn recipe_evidence_refuses_what_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |sets: &[&str], names: &[&str]| {
        let mut command = small(&folder.path().join("run"));
        command.args(["--arms", "found"]);
        for set in sets {
            command.args(["--set", set]);
        }
        let error = refuse(&command.output().unwrap());
        for name in names {
            assert!(error.contains(name), "no {name:?} in:\n{error}");
        }
    };
    let data = format!("arms.found.data={}/data/xquad", root().display());
    refused(&["arms.found.data="], &["arms.found.data", "qa-translate evidence"]);
    refused(&[&data], &["train-context-en-question-en.json"]);
    refused(&["arms.found.guess=best"], &["guess"]);
    refused(&["windows.max_length=400"], &["windows"]);
    assert!(!folder.path().join("run/seed-0").exists());
}
