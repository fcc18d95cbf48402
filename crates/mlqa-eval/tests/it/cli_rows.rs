//! Question files that are lists of rows.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use mlqa_eval::Dataset;
use serde_json::{Value, json};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlqa-eval")).args(args).output().unwrap()
}

fn write(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn lines(rows: &[Value]) -> String {
    rows.iter().map(|row| format!("{row}\n")).collect()
}

#[test]
fn rows_score_as_the_same_questions_in_squad_form() {
    let folder = tempfile::tempdir().unwrap();
    let rows = testkit::fixture("typed/questions.jsonl").display().to_string();
    let said = testkit::fixture("typed/predictions.json").display().to_string();
    let dataset = Dataset::read(&rows).unwrap();
    let squad = folder.path().join("squad.json").display().to_string();
    dataset.write(&squad).unwrap();
    let text = fs::read_to_string(&rows).unwrap();
    let list: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let array = write(folder.path(), "array.json", &Value::Array(list).to_string());
    for option in [
        &["en"][..],
        &["fr"],
        &["--norm", "squad"],
        &["en", "--check-answers"],
        &["en", "--intervals"],
    ] {
        let score = |data: &str| {
            let output = run(&[&["score", data, &said][..], option].concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let expected = score(&squad);
        assert!(expected.starts_with(b"{"));
        assert_eq!(score(&rows), expected, "{option:?}");
        assert_eq!(score(&array), expected, "{option:?}");
    }
}

/// The line that `score`, `check` and, where it is there, `windows` end with.
fn refusals(data: &str, said: &str) -> Vec<String> {
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let mut commands = vec![vec!["score", data, said, "en"], vec!["check", data]];
    if cfg!(feature = "windows") {
        commands.push(vec!["windows", data, "--tokenizer", &tokenizer, "--out", "/dev/null"]);
    }
    let refusal = |args: &Vec<&str>| {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        text.lines().next().unwrap().to_owned()
    };
    commands.iter().map(refusal).collect()
}

#[test]
fn rows_of_another_form_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let said = write(folder.path(), "said.json", "{}");
    let answers = json!({"text": ["a"], "answer_start": [0]});
    let squad =
        json!({"id": "q", "title": "T", "context": "a", "question": "?", "answers": answers});
    let tydi = json!({"question_text": "?", "document_plaintext": "a", "language": "thai"});
    let mtqa =
        json!({"question": "?", "passage": "a", "answer": {"start": 0, "end": 1, "text": "a"}});
    let [array, data] = ["in a JSON array", "in a list `data`"];
    let many = vec![squad.clone(), squad.clone()];
    for (text, words) in [
        (lines(&many), ["data hubs have SQuAD", "one a line"]),
        (lines(&many[..1]), ["data hubs have SQuAD", "one a line"]),
        (Value::Array(many.clone()).to_string(), ["data hubs have SQuAD", array]),
        (json!({"version": "0.1.0", "data": many}).to_string(), ["data hubs have SQuAD", data]),
        (lines(&[tydi.clone(), tydi]), ["TyDi's primary task", "one a line"]),
        (json!({"data": [mtqa]}).to_string(), ["MTQA's rows", data]),
    ] {
        let path = write(folder.path(), "rows.json", &text);
        for line in refusals(&path, &said) {
            for word in words.iter().chain(&["rows.json", "expected a SQuAD-style file", "passage"])
            {
                assert!(line.contains(word), "`{word}` is not in: {line}");
            }
        }
    }
    // A fault in a question file is told as before, with its place.
    let path = write(
        folder.path(),
        "fault.json",
        "{\"data\": [{\"paragraphs\": [\n{\"context\": \"a\"}]}]}",
    );
    for line in refusals(&path, &said) {
        assert!(line.contains("missing field `qas`") && line.contains('2'), "{line}");
    }
}

#[test]
fn predictions_as_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let data = testkit::fixture("scorer/en/dataset.json").display().to_string();
    let row = json!({"id": "q1", "prediction_text": "a", "no_answer_probability": 0.0});
    for (text, form) in [
        (json!([row, row]).to_string(), "rows, in a JSON array"),
        (lines(&[row.clone(), row]), "rows, one a line"),
    ] {
        let said = write(folder.path(), "said.json", &text);
        for args in [&["score", &data, &said, "en"][..], &["boundary", &data, "en", &said]] {
            let error = String::from_utf8(run(args).stderr).unwrap();
            assert_eq!(error.lines().count(), 1, "{error}");
            for word in ["said.json", form, "{\"<question id>\": \"<answer>\", …}"] {
                assert!(error.contains(word), "`{word}` is not in: {error}");
            }
        }
    }
}

#[test]
fn questions_without_answer_name_the_option() {
    let folder = tempfile::tempdir().unwrap();
    let qas = json!([{"id": "b", "question": "?", "answers": [], "is_impossible": true}]);
    let data = json!({"version": "v2.0", "data": [{"paragraphs": [{"context": "a", "qas": qas}]}]});
    let data = write(folder.path(), "dev-v2.0.json", &data.to_string());
    let said = write(folder.path(), "said.json", "{\"b\": \"\"}");
    let output = run(&["score", &data, &said, "en"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("`b` has no gold answer") && error.contains("--squad2"), "{error}");
    assert!(run(&["score", "--squad2", &data, &said]).status.success());
}
