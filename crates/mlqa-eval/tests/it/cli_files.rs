//! Tests standard input and output, protection of input files, and output files that are written
//! together.
#![cfg(unix)]
use std::fs::{self, File};
use std::os::unix::fs::FileTypeExt;

use testkit::{Program, RunOutput, run_command};

use crate::program;

const DATASET: &str = "fixtures/scorer/zh/dataset.json";
const PREDICTIONS: &str = "fixtures/scorer/zh/predictions.json";

/// Runs the program with a file as standard input.
fn run_with_stdin(program: &Program, arguments: &str, input: &str) -> RunOutput {
    run_command(program.command(arguments).stdin(File::open(program.path_of(input)).unwrap()))
}

const SCORE_LINE: &str = "{\"exact_match\": 32.5, \"f1\": 64.98532601243599}\n";

#[test]
fn a_hyphen_is_standard_input_and_output() {
    let program = program();
    for input in ["-", "/dev/stdin"] {
        let output = run_with_stdin(&program, &format!("score {input} {PREDICTIONS} zh"), DATASET);
        assert_eq!(output.out, SCORE_LINE, "{}", output.err);
    }
    let score = format!("score {DATASET} {PREDICTIONS} zh --per-question");
    program.run(&format!("{score} each.json"));
    let scores = program.read("each.json");
    for out in ["-", "/dev/stdout"] {
        let output = program.run(&format!("{score} {out}"));
        assert_eq!(output.out, scores, "{out}");
        assert!(output.err.ends_with(SCORE_LINE), "{out}");
    }
    assert_eq!(program.run(&format!("{score} /dev/null")).out, SCORE_LINE);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn inputs_are_not_overwritten() {
    let program = program();
    program.copy(DATASET, "dataset.json");
    program.copy(PREDICTIONS, "predictions.json");
    for out in ["dataset.json", "predictions.json"] {
        let score = "score dataset.json predictions.json zh --per-question";
        program.expect_only_error(&format!("{score} {out}"), &["one of the inputs"]);
    }
    let score = "score - predictions.json zh --per-question dataset.json";
    let output = run_with_stdin(&program, score, "dataset.json");
    assert_eq!((output.code, &*output.out), (Some(2), ""), "{}", output.err);
    assert!(output.err.contains("one of the inputs"), "{}", output.err);
    assert_eq!(program.read_bytes("predictions.json"), program.read_bytes(PREDICTIONS));
    assert_eq!(program.read_bytes("dataset.json"), program.read_bytes(DATASET));
}

#[test]
fn files_with_a_byte_order_mark_or_gzip_are_read() {
    let program = program();
    let with_bom = |name: &str| [b"\xef\xbb\xbf".to_vec(), program.read_bytes(name)].concat();
    program.write("predictions.json", with_bom(PREDICTIONS));
    program.write("dataset.json.gz", testkit::gzip(with_bom(DATASET)));
    let output = program.run("score dataset.json.gz predictions.json zh");
    assert_eq!(output.out, SCORE_LINE, "{}", output.err);
}

#[test]
fn both_matrix_files_are_written_or_neither() {
    let program = program();
    // The languages are not in MLQA.
    let name = "test-context-fr-question-th.json";
    program.copy("fixtures/scorer/es/dataset.json", &format!("in/{name}"));
    program.copy("fixtures/scorer/es/predictions.json", &format!("answers/{name}"));
    let matrix = "matrix --data in --predictions answers --out to";
    let markdown = program.path_of("to/matrix.md");
    fs::create_dir_all(&markdown).unwrap();
    program.expect_only_error(matrix, &["matrix.md"]);
    let file_count = || fs::read_dir(program.path_of("to")).unwrap().count();
    assert_eq!(file_count(), 1);
    fs::remove_dir(&markdown).unwrap();
    assert!(program.run(matrix).out.contains("| context \\ question | th |\n"));
    assert_eq!(file_count(), 2);
}

/// Writes the question and prediction files of a fold with one question.
fn write_fold(program: &testkit::Program, fold: usize, answer: &str) {
    let question = serde_json::json!({"id": format!("q{fold}"), "question": "?",
        "answers": [{"text": "right", "answer_start": 0}]});
    let data = serde_json::json!({"data": [{"paragraphs": [
        {"context": "right or wrong", "qas": [question]}]}]});
    let name = "test-context-en-question-de.json";
    program.write(&format!("fold-{fold}/{name}"), data.to_string());
    let predictions = serde_json::json!({ format!("q{fold}"): answer }).to_string();
    program.write(&format!("run-{fold}/{name}"), predictions);
}

#[test]
fn folds_are_scored_together() {
    let program = program();
    for (fold, answer) in [(1, "right"), (2, "wrong"), (3, "right"), (4, "right")] {
        write_fold(&program, fold, answer);
    }
    let fold = |fold: usize| format!(" --data fold-{fold} --predictions run-{fold}");
    let folds: String = (1..=4).map(fold).collect();
    let table = program.expect_success(&format!("matrix{folds} --out to")).out;
    assert!(table.contains("| en | 75.00 |"), "{table}");
    let matrix: serde_json::Value =
        serde_json::from_slice(&program.read_bytes("to/matrix.json")).unwrap();
    assert!(matrix.to_string().contains("\"questions\":4"), "{matrix}");
    let duplicate_folds = format!("matrix{}{} --out to", fold(1), fold(1));
    program.expect_error(&duplicate_folds, &["question q1 occurs in another folder of --data"]);
    program.expect_error(
        "matrix --data a --data b --predictions c",
        &["expected 2 folders, one per --data, got 1"],
    );
    let missing = "matrix --data fold-1 --predictions run-1 --data fold-2 --predictions none";
    program.expect_error(missing, &["none/test-context-en-question-de.json"]);
}

#[test]
fn ids_with_line_breaks_do_not_split_errors() {
    let program = program();
    let rows = r#"{"data": [{"paragraphs": [{"context": "a", "qas": [
        {"id": "x\n\u001b[2J", "question": "", "answers": []},
        {"id": "x\n\u001b[2J", "question": "", "answers": []}]}]}]}"#;
    program.write("rows.json", rows);
    let error = program.expect_only_error("check rows.json", &["x\\n\\u{1b}[2J"]).err;
    // The lines report two questions without an answer, a duplicate id, two empty texts, and the
    // number of errors.
    assert_eq!(error.lines().count(), 6);
}

#[test]
fn argument_errors_are_one_line() {
    let program = program();
    let control = ["score", "a\n\u{1b}[2J", "b", "en", "f"];
    let mut errors = vec![program.expect_only_error(&control, &["unexpected argument 'f'"]).err];
    for (arguments, words) in [
        ("score a", "<PREDICTIONS>"),
        ("scor", "; tip: some similar subcommands exist:"),
        ("windows x --out y", "--tokenizer <FILE>"),
        ("score a b en --level x", "invalid value 'x' for '--level <SHARE>'"),
    ] {
        if cfg!(feature = "windows") || !arguments.starts_with("windows") {
            errors.push(program.expect_only_error(arguments, &[words]).err);
        }
    }
    for error in errors {
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("error: ") && error.ends_with("; try '--help'\n"), "{error}");
    }
    // Without arguments, the error refers to the help.
    program.expect_only_error("", &["no command is given; try '--help'"]);
    assert!(program.run("score --help").out.contains("Usage:"));
}

/// Control characters in files and names are escaped on standard output.
#[test]
fn tables_have_no_control_characters() {
    let program = program();
    let name = |end: &str| format!("\u{1b}]0;owned\u{7}\u{9b}{end}");
    let escape = "\u{1b}[31m\u{202e}";
    let row = serde_json::json!({"id": "q", "question": escape, "context": "a",
        "answers": {"text": ["a"], "answer_start": [0]}});
    let data = &*name("data.json");
    let predictions = &*name("predictions.json");
    program.write(data, format!("[{row}]"));
    program.write(predictions, r#"{"q": "a"}"#);
    for arguments in [
        format!("check {data}"),
        format!("check --json {data}"),
        format!(
            "compare --data {data} --language en --baseline {predictions} --predictions {predictions}"
        ),
    ] {
        let out = program.expect_success(&arguments).out;
        assert!(out.contains("\\u001b"), "{arguments:?}: {out}");
        let is_unescaped = |c: char| c.is_control() && !"\n\t".contains(c) || c == '\u{202e}';
        assert!(!out.contains(is_unescaped), "{arguments:?}: {out:?}");
        if arguments.contains("--json") {
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert!(value.to_string().contains("\\u001b"));
        }
    }
}

#[test]
fn invalid_numbers_are_rejected() {
    let program = program();
    let files = "fixtures/scorer/de/dataset.json fixtures/scorer/de/predictions.json";
    for (samples, words) in [("0", "at least 1"), ("1000000000000000000", "at most 10000000")] {
        let arguments = format!("score {files} de --intervals --samples {samples}");
        let error = program.run(&arguments).err;
        assert!(error.contains(&format!("samples = {samples}: must be {words}")), "{error}");
    }
    program.expect_only_error(&format!("score --squad2 {files} --null-threshold nan"), &["NaN"]);
}
