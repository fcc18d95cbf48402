//! Tests of the template programs of `objectives` and `tasks`.
use std::fs;

use crate::common::{program, root, succeed};

#[test]
fn the_template_of_objectives_prints_known_losses() {
    let out = succeed(program("objectives-template"));
    // The template's hidden states are 0, so all candidates are equally probable. The losses are ln
    // 5 for five tokens and ln 8 for eight keys.
    for line in ["loss 3.6889 nats", "mlm 1.6094", "mep 2.0794", "keys in the queue: 8 of 8"] {
        assert!(out.contains(line), "no {line:?} in:\n{out}");
    }
}

#[test]
fn the_template_of_tasks_trains_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let question = |number: usize| {
        format!(
            r#"{{"context": "House {number} is red.", "qas": [{{"id": "q{number}",
                "question": "Which colour?", "answers": [{{"text": "red", "answer_start": 11}}]}}]}}"#
        )
    };
    let questions: Vec<String> = (0..8).map(question).collect();
    let file = format!(r#"{{"data": [{{"paragraphs": [{}]}}]}}"#, questions.join(","));
    let (train, out) = (path("train.json"), path("out"));
    fs::write(&train, file).unwrap();
    let mut command = program("tasks-template");
    command.arg(root().join("data/base")).args([&train, &train, &out]);
    let printed = succeed(command);
    // The eight windows fit in one batch of 16, so each of the two epochs has one step.
    assert!(printed.contains("2 steps, loss "), "{printed}");
    assert!(printed.contains("{\"exact_match\": "), "{printed}");
    let predictions = fs::read_to_string(path("out/predictions.json")).unwrap();
    assert_eq!(predictions.matches("\"q").count(), 8, "{predictions}");
    assert!(path("out/model/model.safetensors").exists());
}
