//! The program.
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::common::{DATA, random_reader};

fn polyqa(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_polyqa"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn good(arguments: &[&str], input: &str) -> String {
    let done = polyqa(arguments, input);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}

/// The one line of an error.
fn bad(arguments: &[&str], input: &str) -> String {
    let done = polyqa(arguments, input);
    let error = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(2), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error
}

#[test]
fn answers_come_for_people_and_for_programs() {
    let model = random_reader();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (model, peru, rows, questions) =
        (model.path().to_str().unwrap(), path("peru.txt"), path("rows.jsonl"), path("q.jsonl"));
    std::fs::write(&peru, "Lima liegt in Peru.\u{1b}[31m Quito nicht.").unwrap();
    std::fs::write(
        &rows,
        "{\"id\": 7, \"text\": \"Quito est en Équateur.\"}\n\n{\"text\": \"\"}\n",
    )
    .unwrap();
    std::fs::write(
        &questions,
        "{\"id\": \"a\", \"question\": \"Wo?\"}\n{\"question\": \"Qui?\"}\n",
    )
    .unwrap();

    let shown = good(&["answer", "--model", model, "-q", "Wo?", &peru, &rows], "");
    assert!(shown.starts_with("Wo?\n  [") && !shown.contains('\u{1b}'), "{shown}");
    let lines = good(
        &[
            "answer",
            "--model",
            model,
            "--questions",
            &questions,
            "--json",
            "-n",
            "2",
            "--documents",
            &rows,
            "-",
        ],
        "Standard input has a text.",
    );
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["id"], &lines[1]["id"]), (&Value::from("a"), &Value::Null));
    for line in &lines {
        let answers = line["answers"].as_array().unwrap();
        assert_eq!(answers.len(), 2);
        for answer in answers {
            assert!(["7", "-"].contains(&answer["document"].as_str().unwrap()), "{answer}");
        }
    }
}

#[test]
fn a_question_file_is_answered_over_its_contexts_and_scored() {
    let model = random_reader();
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(DATA).join("xquad/xquad.de.json");
    let mut file: Value = serde_json::from_slice(&std::fs::read(data).unwrap()).unwrap();
    let articles = file["data"].as_array_mut().unwrap();
    articles.truncate(1);
    articles[0]["paragraphs"].as_array_mut().unwrap().truncate(2);
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (dev, predictions, odds) = (path("dev.json"), path("predictions.json"), path("odds.json"));
    std::fs::write(&dev, file.to_string()).unwrap();
    let shown = good(
        &[
            "answer",
            "--model",
            model.path().to_str().unwrap(),
            "--questions",
            &dev,
            "--json",
            "--predictions",
            &predictions,
            "--null-odds",
            &odds,
            "--n-best",
            &path("n.json"),
        ],
        "",
    );
    let read =
        |path: &str| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let (predictions, odds) = (read(&predictions), read(&odds));
    assert_eq!(shown.lines().count(), predictions.as_object().unwrap().len());
    for line in shown.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let id = line["id"].as_str().unwrap();
        assert_eq!(line["answers"][0]["text"], predictions[id]);
        assert!(odds[id].is_number());
    }
}

#[test]
fn bad_input_is_one_line_that_names_it() {
    let model = random_reader();
    let folder = tempfile::tempdir().unwrap();
    let model = model.path().to_str().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let text = path("text.txt", "A text.");
    let cut = path("cut.jsonl", "{\"text\": \"a\"}\n{\"text\": \n");
    let questions =
        path("q.jsonl", "{\"id\": 1, \"question\": \"a\"}\n{\"id\": \"1\", \"question\": \"b\"}\n");
    let latin = folder.path().join("latin.txt");
    std::fs::write(&latin, b"caf\xe9").unwrap();
    let none = folder.path().join("none");
    let ask =
        |more: &[&str]| bad(&[&["answer", "--model", model, "-q", "Where?"], more].concat(), "");
    assert!(ask(&[none.to_str().unwrap()]).contains("none"));
    assert!(ask(&[folder.path().to_str().unwrap()]).contains("it is a folder"));
    assert!(ask(&[latin.to_str().unwrap()]).contains("latin.txt"));
    assert!(ask(&[&cut]).contains("cut.jsonl: line 2"));
    assert!(ask(&[]).contains("no document is named"));
    assert!(ask(&[&text, "--max-length", "9"]).contains("max_length"));
    assert!(ask(&[&text, "-n", "0"]).contains("--answers"));
    assert!(ask(&[&text, "--device", "tpu"]).contains("tpu"));
    let twice = bad(&["answer", "--model", model, "--questions", &questions, &text], "");
    assert!(twice.contains("line 2") && twice.contains("twice"), "{twice}");
    let empty = bad(&["answer", "--model", model, "-q", " ", &text], "");
    assert!(empty.contains("a question is empty"));
    let base = format!("{DATA}/base");
    let untrained = bad(&["answer", "--model", &base, "-q", "Where?", &text], "");
    assert!(untrained.contains("XLMRobertaForMaskedLM"), "{untrained}");
}

#[test]
fn the_doctor_says_what_is_there() {
    let model = random_reader();
    let shown = good(&["doctor", "--model", model.path().to_str().unwrap()], "");
    for part in ["polyqa", "GPUs", "threads", "windows    128 tokens", "calibrated none"] {
        assert!(shown.contains(part), "{shown}");
    }
    let done = polyqa(&["doctor", "--model", "nowhere"], "");
    assert_eq!(done.status.code(), Some(2));
    assert!(good(&["completions", "bash"], "").contains("polyqa"));
}
