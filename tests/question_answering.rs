//! Tests of `polyqa train` on user questions: a few steps, and rejected input.
use std::fs;
use std::path::Path;
use std::process::Command;

use mlqa_eval::Dataset;
use serde_json::{Value, json};

use crate::common::{CommandExt, assert_contains, expect_failure, succeed, summary, tool};

/// Writes `count` questions about colours. The first `unanswerable` questions have no answer; the
/// answers of the remaining questions start at character `start`.
fn write_questions(path: &Path, count: usize, unanswerable: usize, start: usize) {
    let paragraph = |number: usize| {
        let answers = match number < unanswerable {
            true => json!([]),
            false => json!([{ "text": "red", "answer_start": start }]),
        };
        let id = format!("q{number}");
        json!({
            "context": format!("It is red, house {number}."),
            "qas": [{ "id": id, "question": "Which colour is it?", "answers": answers }]
        })
    };
    let paragraphs: Vec<Value> = (0..count).map(paragraph).collect();
    let file = json!({ "version": "1.1", "data": [{ "title": "t", "paragraphs": paragraphs }] });
    fs::write(path, file.to_string()).unwrap();
}

/// Returns the command `polyqa train` for the embedded model, with six steps of four windows.
fn train_command(folder: &Path, out: &str) -> Command {
    let mut command = tool("polyqa");
    command.args(["train", "--model", "data/base", "--out"]).arg(folder.join(out));
    command.args(["--device", "cpu", "--batch-size", "4", "--learning-rate", "1e-3"]);
    command.set_all([
        "run.threads=1",
        "run.float32_matmul=highest",
        "training.steps=6",
        "training.checkpoint_steps=2",
        "training.log_steps=2",
    ]);
    command
}

fn train(folder: &Path, out: &str) -> Command {
    let (train, dev) = (folder.join("train.json"), folder.join("test-context-de-question-en.json"));
    write_questions(&train, 12, 2, 6);
    write_questions(&dev, 5, 1, 6);
    let mut command = train_command(folder, out);
    command.arg("--train").arg(train).arg("--dev").arg(dev).args(["--unanswerable", "drop"]);
    command
}

fn read_json(path: &Path) -> Value {
    experiment::read_json(path).unwrap()
}

#[test]
fn recipe_question_answering_trains_predicts_and_scores() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let text = succeed(train(folder, "run"));
    let pieces = [
        "10 training questions; 2 without an answer are skipped",
        "windows of 158 tokens (default: 384)",
        "| test-context-de-question-en.json, 4 questions | F1 | EM |",
        "| MLQA's rules for de |",
        "| SQuAD 2.0's rules, all 5 questions |",
        "Calibrated on 5 questions: temperature ",
    ];
    assert_contains(&text, &pieces);
    let out = folder.join("run");
    let results = summary(&out);
    assert_eq!(
        (&results["training"]["steps"], &results["scores"][0]["language"]),
        (&json!(6), &json!("de"))
    );
    let score = &results["scores"][0]["score"];
    assert!(score["f1"].is_f64() && score["exact_match"].is_f64());
    let predictions = read_json(&out.join("predictions.json"));
    assert_eq!(predictions.as_object().unwrap().len(), 5);
    assert!(out.join("model/tokenizer.json").exists());
    // The page shows the four questions with a gold answer, and several predictions for each of
    // them (`n_best`).
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(
        page.contains("4 questions · 1 without a gold answer") && page.contains("\"n_best\":[[")
    );

    // The saved model gives the same answers as the model after training, and contains the
    // calibrated threshold.
    let mut command = tool("polyqa");
    command.args(["answer", "--json", "--device", "cpu", "--precision", "f32"]);
    command.args(["--null-threshold", "1e9", "--model"]);
    command
        .arg(out.join("model"))
        .arg("--questions")
        .arg(folder.join("test-context-de-question-en.json"));
    command.arg("--predictions").arg(folder.join("again.json"));
    let lines = succeed(command);
    assert_eq!(lines.lines().count(), 5);
    assert_eq!(read_json(&folder.join("again.json")), predictions);
    let calibration = read_json(&out.join("model/calibration.json"));
    assert_eq!(calibration, results["calibration"]);
    assert!(calibration["null_threshold"].is_f64());

    // A finished run accepts changed evaluation options without training again, but rejects changed
    // training options.
    let mut command = train(folder, "run");
    command.args(["--language", "en"]);
    assert!(succeed(command).contains("| MLQA's rules for en |"));
    let mut command = train(folder, "run");
    let error = expect_failure(&command.args(["--seed", "7"]).output().unwrap());
    assert!(error.contains("training.seed = 42 in the run folder, 7 now"), "{error}");
}

#[test]
fn recipe_question_answering_reads_rows_like_squad() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = |name_suffix: &str, end: &str| {
        let file = |name: &str| folder.join(format!("{name}-{name_suffix}.{end}"));
        let mut command = train_command(folder, name_suffix);
        command.arg("--train").arg(file("train")).arg("--dev").arg(file("dev"));
        succeed(command);
        let mut answer = tool("polyqa");
        answer.args(["answer", "--json", "--device", "cpu", "--precision", "f32", "--model"]);
        answer.arg(folder.join(name_suffix).join("model")).arg("--questions").arg(file("dev"));
        let answers = succeed(answer);
        let mut score = tool("polyqa");
        score.args(["score", "--squad2"]).arg(file("dev"));
        let scores = succeed({
            score.arg(folder.join(name_suffix).join("predictions.json"));
            score
        });
        let bytes = |name: &str| fs::read(folder.join(name_suffix).join(name)).unwrap();
        (bytes("model/model.safetensors"), bytes("predictions.json"), answers, scores)
    };
    let mut questions = Vec::new();
    for (name, count, unanswerable) in [("train", 12, 3), ("dev", 5, 1)] {
        let path =
            |name_suffix: &str, end: &str| folder.join(format!("{name}-{name_suffix}.{end}"));
        write_questions(&path("squad", "json"), count, unanswerable, 6);
        questions = Dataset::read(path("squad", "json")).unwrap().questions;
        let row = |one: &mlqa_eval::Question| {
            let texts: Vec<&str> = one.answers.iter().map(|answer| &*answer.text).collect();
            let starts: Vec<Option<usize>> =
                one.answers.iter().map(|one| one.answer_start).collect();
            json!({ "id": one.id, "title": &*one.title, "context": &*one.context,
                "question": one.question, "answers": { "text": texts, "answer_start": starts } })
        };
        let rows: Vec<Value> = questions.iter().map(row).collect();
        let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
        fs::write(path("lines", "jsonl"), lines).unwrap();
        fs::write(path("data", "json"), json!({ "data": rows }).to_string()).unwrap();
    }
    assert_eq!(questions.len(), 5);
    let squad = run("squad", "json");
    for (name_suffix, end) in [("lines", "jsonl"), ("data", "json")] {
        assert!(run(name_suffix, end) == squad, "{name_suffix}");
    }
}

#[test]
fn recipe_question_answering_rejects_invalid_input_before_writing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let path = |name: &str| folder.join(name).display().to_string();
    write_questions(&folder.join("good.json"), 3, 0, 6);
    write_questions(&folder.join("none.json"), 3, 3, 6);
    write_questions(&folder.join("offset.json"), 3, 0, 7);
    fs::write(folder.join("broken.json"), "{\"data\": [").unwrap();
    let assert_error = |arguments: &[&str], pieces: &[&str]| {
        let error = expect_failure(&train_command(folder, "run").args(arguments).output().unwrap());
        for piece in pieces {
            assert!(error.contains(piece), "{arguments:?}: no {piece:?} in {error}");
        }
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!folder.join("run").exists(), "{arguments:?}");
    };
    let valid_file = path("good.json");
    assert_error(&["--train", &path("nowhere.json")], &["nowhere.json", "No such file"]);
    assert_error(&["--train", &valid_file, "--dev", &path("nowhere.json")], &["nowhere.json"]);
    assert_error(&["--train", &path("broken.json")], &["broken.json:1:"]);
    assert_error(
        &["--train", &path("none.json")],
        &["none.json: no answer to train on in any of 3 questions"],
    );
    assert_error(
        &["--train", &path("offset.json")],
        &["offset.json: question `q0`: answer_start 7 should hold `red`"],
    );
    let too_long = ["--train", &valid_file, "--set", "windows.max_length=384"];
    assert_error(&too_long, &["windows", "max_length = 384", "at most 158"]);
    let unknown_key = ["--train", &valid_file, "--set", "training.epoch=3"];
    assert_error(&unknown_key, &["--set training.epoch=3: unknown key `epoch`", "`epochs`"]);
    assert_error(
        &["--train", &valid_file, "--epochs", "0", "--set", "training.batch_size=0"],
        &["training"],
    );

    // The seed exceeds the range of the recipe's integers.
    let seed = ["--train", &valid_file, "--seed", "18446744073709551615"];
    let output = train_command(folder, "run").args(seed).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("--seed") && error.contains("9223372036854775807"), "{error}");
    // The option `--train` is required.
    let output = train_command(folder, "run").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--train"));
}
