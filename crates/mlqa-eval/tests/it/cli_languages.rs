//! Languages as a user gives them, and several of them in one file.
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mlqa-eval")).args(args).output().unwrap()
}

/// Standard output and standard error of a command that ends well.
#[track_caller]
fn done(args: &[&str]) -> [String; 2] {
    let Output { status, stdout, stderr } = run(args);
    let texts = [stdout, stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(status.success(), "{args:?}: {}", texts[1]);
    texts
}

#[track_caller]
fn refused(args: &[&str], words: &[&str]) {
    let output = run(args);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    for word in words {
        assert!(error.contains(word), "`{word}` is not in: {error}");
    }
}

fn scorer(file: &str) -> String {
    testkit::fixture(&format!("scorer/{file}")).display().to_string()
}

fn write(folder: &Path, name: &str, value: &Value) -> String {
    let path = folder.join(name);
    fs::write(&path, value.to_string()).unwrap();
    path.display().to_string()
}

#[test]
fn case_changes_no_score() {
    let typed = |file: &str| testkit::fixture(&format!("typed/{file}")).display().to_string();
    for language in ["en", "de", "zh"] {
        let (data, said) = (
            scorer(&format!("{language}/dataset.json")),
            scorer(&format!("{language}/predictions.json")),
        );
        let upper = language.to_uppercase();
        let script = format!("{upper}-Xxxx");
        for (one, other) in [(language, upper.as_str()), (&script.to_lowercase(), &script)] {
            let score = |code| done(&["score", &data, &said, code]);
            assert_eq!(score(one), score(other));
            let boundary = |code| done(&["boundary", &data, code, &said]);
            assert_eq!(boundary(one), boundary(other));
            let compare = |code| {
                let runs = ["--baseline", &said, "--predictions", &said, "--samples", "10"];
                done(&[&["compare", "--data", &data, "--language", code][..], &runs].concat())
            };
            assert_eq!(compare(one), compare(other));
        }
    }
    let types =
        |code| done(&["types", &typed("questions.jsonl"), &typed("predictions.json"), code]);
    assert_eq!(types("en"), types("EN"));
    let tables = |code| done(&["tables", "--table", "000-1", "--language", code]);
    assert_eq!(tables("zh"), tables("ZH"));
}

#[test]
fn case_in_the_names_of_files_makes_no_other_language() {
    let folder = tempfile::tempdir().unwrap();
    let [data, said] = ["data", "said"].map(|name| folder.path().join(name));
    fs::create_dir(&data).unwrap();
    fs::create_dir(&said).unwrap();
    let to = folder.path().join("to").display().to_string();
    fs::copy(scorer("en/dataset.json"), data.join("test-context-EN-question-DE.json")).unwrap();
    fs::copy(scorer("en/predictions.json"), said.join("test-context-en-question-De.json")).unwrap();
    let [data_path, said_path] = [&data, &said].map(|path| path.display().to_string());
    let args = ["matrix", "--data", &data_path, "--predictions", &said_path, "--out", &to];
    let [table, _] = done(&args);
    let [line, _] =
        done(&["score", &scorer("en/dataset.json"), &scorer("en/predictions.json"), "en"]);
    let line: Value = serde_json::from_str(&line).unwrap();
    let cell = format!("| en | {:.2} |", line["f1"].as_f64().unwrap());
    assert!(table.contains(&cell), "{cell} is not in {table}");
    let runs = ["--baseline", &said_path, "--predictions", &said_path, "--samples", "10"];
    let [rows, _] = done(&[&["compare", "--data", &data_path][..], &runs].concat());
    assert!(rows.contains("context en, question de"), "{rows}");
    // Its languages are looked at: English contexts, and questions that are not German.
    let file = data.join("test-context-EN-question-DE.json").display().to_string();
    refused(&["check", &file], &["the name says that questions are in `de`"]);
    fs::copy(scorer("en/dataset.json"), data.join("test-context-en-question-de.json")).unwrap();
    refused(&args, &["test-context-en-question-de.json is there twice"]);
}

/// Articles, each with the questions of one language as TyDi's ids have it.
fn tydi(golds: &[(&str, &str)]) -> Value {
    let article = |(id, answer): &(&str, &str)| {
        let qa =
            json!({"id": id, "question": "?", "answers": [{"text": answer, "answer_start": 0}]});
        json!({"paragraphs": [{"context": answer, "qas": [qa]}]})
    };
    let data: Vec<Value> = golds.iter().map(article).collect();
    json!({"version": "TyDiQA-GoldP-1.1-for-SQuAD-1.1", "data": data})
}

const GOLDS: [(&str, &str); 5] = [
    ("english-11-1", "the house"),
    ("arabic-2387335860751143628-1", "الكتاب"),
    ("finnish-3-0", "the talo"),
    ("english-12-0", "a red house"),
    ("finnish-4-2", "vene"),
];

#[test]
fn each_language_of_a_file_has_its_score() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, value: &Value| write(folder.path(), name, value);
    let data = at("tydi.json", &tydi(&GOLDS));
    let said = at(
        "said.json",
        &json!({"english-11-1": "house", "arabic-2387335860751143628-1": "كتاب",
            "finnish-3-0": "talo", "english-12-0": "house", "finnish-4-2": "vene"}),
    );
    let read = |args: &[&str]| -> Value { serde_json::from_str(&done(args)[0]).unwrap() };
    let own = read(&["score", &data, &said]);
    let mut exact = Vec::new();
    for (code, name) in [("en", "english"), ("ar", "arabic"), ("fi", "finnish")] {
        let golds = GOLDS.into_iter().filter(|(id, _)| id.starts_with(name));
        let alone = at("alone.json", &tydi(&golds.collect::<Vec<_>>()));
        let alone = read(&["score", &alone, &said, code]);
        let part = &own["languages"][code];
        assert_eq!([&part["exact_match"], &part["f1"]], [&alone["exact_match"], &alone["f1"]]);
        exact.push(part["exact_match"].as_f64().unwrap());
    }
    // Articles count where nobody knows them, and not in English and Arabic.
    assert_eq!(exact, [50.0, 100.0, 50.0]);
    assert_eq!(own["mean"]["exact_match"], 200.0 / 3.0);
    assert_eq!(own["mean_without_en"]["exact_match"], 75.0);
    assert_eq!((own["exact_match"].as_f64(), own["questions"].as_u64()), (Some(60.0), Some(5)));
    assert_eq!(own["languages"]["fi"]["questions"], 2);
    // One set of rules for all, where it is asked for; the same with all that is looked at.
    let squad = read(&["score", "--norm", "squad", &data, &said]);
    assert_eq!(squad["languages"]["ar"]["exact_match"], 0.0);
    assert_eq!(squad["languages"]["en"], own["languages"]["en"]);
    assert_eq!(read(&["score", "--check-answers", &data, &said]), own);
    let more = read(&["score", "--intervals", &data, &said]);
    assert_eq!(more["languages"], own["languages"]);
    assert!(more["f1_interval"].is_array());
    // Not one language's rules for all.
    refused(
        &["score", &data, &said, "en"],
        &["tydi.json", "several languages", "leave the language out"],
    );
}

#[test]
fn ids_that_tell_no_language_need_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str, value: &Value| write(folder.path(), name, value);
    let said = at("said.json", &json!({}));
    for id in ["row-1", "5733be284776f41900661182", "finnish-house", "klingon-1"] {
        let data = at("data.json", &tydi(&[("finnish-3-0", "talo"), (id, "vene")]));
        refused(&["score", &data, &said], &["data.json: LANGUAGE is missing", "such as en"]);
        let [line, _] = done(&["score", &data, &said, "fi"]);
        assert_eq!(line, "{\"exact_match\": 0.0, \"f1\": 0.0}\n");
    }
}
