//! The program's files: standard input and output, protected inputs, files published together.
#![cfg(unix)]
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;

use testkit::{Ended, Program, ended};

use crate::program;

const DATASET: &str = "fixtures/scorer/zh/dataset.json";
const PREDICTIONS: &str = "fixtures/scorer/zh/predictions.json";

/// Runs the program with a file as standard input.
fn reading(program: &Program, arguments: &str, input: &str) -> Ended {
    ended(program.command(arguments).stdin(File::open(program.at(input)).unwrap()))
}

const DIGITS: &str = "{\"exact_match\": 32.5, \"f1\": 64.98532601243599}\n";

#[test]
fn a_hyphen_is_standard_input_and_output() {
    let program = program();
    for input in ["-", "/dev/stdin"] {
        let ended = reading(&program, &format!("score {input} {PREDICTIONS} zh"), DATASET);
        assert_eq!(ended.out, DIGITS, "{}", ended.err);
    }
    let score = format!("score {DATASET} {PREDICTIONS} zh --per-question");
    program.run(&format!("{score} each.json"));
    let each = program.read("each.json");
    for out in ["-", "/dev/stdout"] {
        let ended = program.run(&format!("{score} {out}"));
        assert_eq!(ended.out, each, "{out}");
        assert!(ended.err.ends_with(DIGITS), "{out}");
    }
    assert_eq!(program.run(&format!("{score} /dev/null")).out, DIGITS);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn inputs_are_not_written_over() {
    let program = program();
    program.copy(DATASET, "dataset.json");
    program.copy(PREDICTIONS, "predictions.json");
    for out in ["dataset.json", "predictions.json"] {
        let score = "score dataset.json predictions.json zh --per-question";
        program.refused(&format!("{score} {out}"), &["one of the inputs"]);
    }
    let score = "score - predictions.json zh --per-question dataset.json";
    let ended = reading(&program, score, "dataset.json");
    assert_eq!((ended.code, &*ended.out), (Some(2), ""), "{}", ended.err);
    assert!(ended.err.contains("one of the inputs"), "{}", ended.err);
    assert_eq!(program.bytes("predictions.json"), program.bytes(PREDICTIONS));
    assert_eq!(program.bytes("dataset.json"), program.bytes(DATASET));
}

#[test]
fn files_are_read_with_a_mark_and_compressed() {
    let program = program();
    let marked = |name: &str| [b"\xef\xbb\xbf".to_vec(), program.bytes(name)].concat();
    program.write("predictions.json", marked(PREDICTIONS));
    program.write("dataset.json.gz", testkit::gzip(marked(DATASET)));
    let ended = program.run("score dataset.json.gz predictions.json zh");
    assert_eq!(ended.out, DIGITS, "{}", ended.err);
}

#[test]
fn the_files_of_a_matrix_appear_together() {
    let program = program();
    // Languages outside MLQA's seven.
    let name = "test-context-fr-question-th.json";
    program.copy("fixtures/scorer/es/dataset.json", &format!("in/{name}"));
    program.copy("fixtures/scorer/es/predictions.json", &format!("said/{name}"));
    let matrix = "matrix --data in --predictions said --out to";
    let page = program.at("to/matrix.md");
    fs::create_dir_all(&page).unwrap();
    program.refused(matrix, &["matrix.md"]);
    let files = || fs::read_dir(program.at("to")).unwrap().count();
    assert_eq!(files(), 1);
    fs::remove_dir(&page).unwrap();
    assert!(program.run(matrix).out.contains("| context \\ question | th |\n"));
    assert_eq!(files(), 2);
}

/// Writes the question and prediction files of a fold with one question.
fn one_question(program: &testkit::Program, fold: usize, said: &str) {
    let question = serde_json::json!({"id": format!("q{fold}"), "question": "?",
        "answers": [{"text": "right", "answer_start": 0}]});
    let data = serde_json::json!({"data": [{"paragraphs": [
        {"context": "right or wrong", "qas": [question]}]}]});
    let name = "test-context-en-question-de.json";
    program.write(&format!("fold-{fold}/{name}"), data.to_string());
    let said = serde_json::json!({ format!("q{fold}"): said }).to_string();
    program.write(&format!("run-{fold}/{name}"), said);
}

#[test]
fn folds_are_scored_as_one() {
    let program = program();
    for (fold, said) in [(1, "right"), (2, "wrong"), (3, "right"), (4, "right")] {
        one_question(&program, fold, said);
    }
    let fold = |fold: usize| format!(" --data fold-{fold} --predictions run-{fold}");
    let all: String = (1..=4).map(fold).collect();
    let table = program.done(&format!("matrix{all} --out to")).out;
    assert!(table.contains("| en | 75.00 |"), "{table}");
    let numbers: serde_json::Value =
        serde_json::from_slice(&program.bytes("to/matrix.json")).unwrap();
    assert!(numbers.to_string().contains("\"questions\":4"), "{numbers}");
    let twice = format!("matrix{}{} --out to", fold(1), fold(1));
    program.failed(&twice, &["question q1 occurs in another folder of --data"]);
    program.failed(
        "matrix --data a --data b --predictions c",
        &["expected 2 folders, one per --data, got 1"],
    );
    let missing = "matrix --data fold-1 --predictions run-1 --data fold-2 --predictions none";
    program.failed(missing, &["none/test-context-en-question-de.json"]);
}

#[test]
fn an_error_is_one_line_whatever_the_input_holds() {
    let program = program();
    let rows = r#"{"data": [{"paragraphs": [{"context": "a", "qas": [
        {"id": "x\n\u001b[2J", "question": "", "answers": []},
        {"id": "x\n\u001b[2J", "question": "", "answers": []}]}]}]}"#;
    program.write("rows.json", rows);
    let error = program.refused("check rows.json", &["x\\n\\u{1b}[2J"]).err;
    // Two questions without an answer, a duplicate id, two empty texts, and the number of faults.
    assert_eq!(error.lines().count(), 6);
}

#[test]
fn wrong_arguments_are_one_line() {
    let program = program();
    let control = ["score", "a\n\u{1b}[2J", "b", "en", "f"];
    let mut errors = vec![program.refused(&control, &["unexpected argument 'f'"]).err];
    for (arguments, words) in [
        ("score a", "<PREDICTIONS>"),
        ("scor", "; tip: some similar subcommands exist:"),
        ("windows x --out y", "--tokenizer <FILE>"),
        ("score a b en --level x", "invalid value 'x' for '--level <SHARE>'"),
    ] {
        if cfg!(feature = "windows") || !arguments.starts_with("windows") {
            errors.push(program.refused(arguments, &[words]).err);
        }
    }
    for error in errors {
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("error: ") && error.ends_with("; try '--help'\n"), "{error}");
    }
    // Without arguments, the error refers to the help.
    program.refused("", &["no command is given; try '--help'"]);
    assert!(program.run("score --help").out.contains("Usage:"));
}

/// Control characters in files and names are escaped on standard output.
#[test]
fn tables_hold_no_control_characters() {
    let program = program();
    let name = |end: &str| format!("\u{1b}]0;owned\u{7}\u{9b}{end}");
    let bad = "\u{1b}[31m\u{202e}";
    let row = serde_json::json!({"id": "q", "question": "?", "passage": "a", "subtype": bad,
        "answer": {"start": 0, "end": 1, "text": "a"}});
    let data = &*name("data.json");
    let said = &*name("said.json");
    program.write(data, format!("[{row}]"));
    program.write(said, r#"{"q": "a"}"#);
    let beside = format!("{bad}={said}");
    for arguments in [
        format!("check {data}"),
        format!("check --json {data}"),
        format!("types {data} {said} en"),
        format!("types {data} {said} en --beside {beside}"),
        format!("compare --data {data} --language en --baseline {said} --predictions {said}"),
    ] {
        let out = program.done(&arguments).out;
        assert!(out.contains("\\u001b"), "{arguments:?}: {out}");
        let obeyed = |c: char| c.is_control() && !"\n\t".contains(c) || c == '\u{202e}';
        assert!(!out.contains(obeyed), "{arguments:?}: {out:?}");
        if arguments.contains("--json") {
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert!(value.to_string().contains("\\u001b"));
        }
    }
}

#[test]
fn numbers_of_nonsense_are_refused() {
    let program = program();
    let files = "fixtures/scorer/de/dataset.json fixtures/scorer/de/predictions.json";
    for (samples, words) in [("0", "at least 1"), ("1000000000000000000", "at most 10000000")] {
        let arguments = format!("score {files} de --intervals --samples {samples}");
        let error = program.run(&arguments).err;
        assert!(error.contains(&format!("samples = {samples}: must be {words}")), "{error}");
    }
    program.refused(&format!("score --squad2 {files} --null-threshold nan"), &["NaN"]);
}
