//! The programs beside the recipes: what a user meets.
use std::path::Path;

use serde_json::Value;
use tch::Device;
use xlmr_model::{Head, LoadOptions, Pretrained};

use crate::common::{program, refuse, root, succeed};

/// The base with a span head as a trained model has it; what it answers does not matter.
fn save_reader(folder: &Path) {
    let base = root().join("data/base");
    let (base, _) =
        Pretrained::load(base, &[Head::Span], Device::Cpu, LoadOptions::default()).unwrap();
    base.save(folder, Head::Span).unwrap();
}

#[test]
fn ask_shows_the_answer_in_its_sentence() {
    let folder = tempfile::tempdir().unwrap();
    save_reader(folder.path());
    let mut ask = program("ask");
    ask.args(["--question", "Was ist die Amtssprache von Peru ?", "--model"]).arg(folder.path());
    let answer = succeed(ask);
    assert!(answer.contains('[') && answer.contains('%'), "{answer}");
}

#[test]
fn ask_refuses_a_model_without_a_trained_head_and_empty_text() {
    let folder = tempfile::tempdir().unwrap();
    save_reader(folder.path());
    let empty = folder.path().join("empty.txt");
    std::fs::write(&empty, " \n").unwrap();
    let (model, empty) = (folder.path().to_str().unwrap(), empty.to_str().unwrap());
    let cases: [(&[&str], &str); 4] = [
        (&["--model", "data/base", "--question", "Who?"], "no trained span head"),
        (&["--model", "nowhere", "--question", "Who?"], "no such folder"),
        (&["--model", model, "--question", " "], "--question is empty"),
        (&["--model", model, "--question", "Who?", "--text", empty], "the text is empty"),
    ];
    for (arguments, piece) in cases {
        let error = refuse(&program("ask").args(arguments).output().unwrap());
        assert!(error.contains(piece), "no {piece:?} in {error}");
    }
}

#[test]
fn ask_goes_on_after_a_line_that_is_not_utf8() {
    let folder = tempfile::tempdir().unwrap();
    save_reader(folder.path());
    let questions = folder.path().join("questions");
    std::fs::write(&questions, b"\xff\nWas ist die Amtssprache von Peru ?\n").unwrap();
    let mut ask = program("ask");
    ask.arg("--model").arg(folder.path()).stdin(std::fs::File::open(&questions).unwrap());
    let output = ask.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.starts_with("this line is not UTF-8"), "{said}");
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(answers.contains('[') && answers.contains('%'), "{answers}");
}

#[test]
fn answer_alignment_measures_alignment_and_search() {
    let folder = tempfile::tempdir().unwrap();
    for language in ["en", "de"] {
        // The first article.
        let name = format!("xquad.{language}.json");
        let text = std::fs::read_to_string(root().join("data/xquad").join(&name)).unwrap();
        let mut file: Value = serde_json::from_str(&text).unwrap();
        file["data"].as_array_mut().unwrap().truncate(1);
        std::fs::write(folder.path().join(name), file.to_string()).unwrap();
    }
    let out = folder.path().join("out");
    let mut command = program("answer-alignment");
    command.args(["--languages", "de", "--threads", "1", "--data"]).arg(folder.path());
    command.arg("--out").arg(&out);
    let text = succeed(command);
    let table = std::fs::read_to_string(out.join("table.md")).unwrap();
    assert!(text.contains(&table) && table.starts_with("| exact span / F1 | de | mean |"));
    let summary = std::fs::read_to_string(out.join("summary.json")).unwrap();
    let summary: Value = serde_json::from_str(&summary).unwrap();
    let methods = summary["languages"]["de"].as_object().unwrap();
    let names: Vec<&String> = methods.keys().collect();
    let expected =
        ["english_nearest", "english_unique", "gold_nearest", "gold_unique", "projection"];
    assert_eq!(names, expected);
    // The gold answer is found in every passage, and nearest by position it is nearly always right.
    assert_eq!(methods["gold_nearest"]["found"], 100.0);
    assert!(methods["gold_nearest"]["exact_span"].as_f64().unwrap() > 95.0);

    let output = program("answer-alignment").args(["--languages", "en"]).output().unwrap();
    assert!(refuse(&output).contains("English is the source"));
}
