//! The program's files: standard input and output, inputs that are kept, files that come together.
#![cfg(unix)]
use std::fs;
use std::io::Write;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;

fn scorer(file: &str) -> String {
    testkit::fixture(&format!("scorer/{file}")).display().to_string()
}

fn run(args: &[&str], input: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mlqa-eval"));
    let input = input.map_or_else(Stdio::null, |path| fs::File::open(path).unwrap().into());
    command.args(args).stdin(input).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[track_caller]
fn refused(output: &Output, word: &str) {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.contains(word), "{error}");
}

const DIGITS: &str = "{\"exact_match\": 32.5, \"f1\": 64.98532601243599}\n";

#[test]
fn a_hyphen_is_standard_input_and_output() {
    let (dataset, predictions) = (scorer("zh/dataset.json"), scorer("zh/predictions.json"));
    for args in [["score", "-", &predictions, "zh"], ["score", "/dev/stdin", &predictions, "zh"]] {
        let output = run(&args, Some(&dataset));
        assert_eq!(text(&output.stdout), DIGITS, "{}", text(&output.stderr));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("each.json").display().to_string();
    run(&["score", &dataset, &predictions, "zh", "--per-question", &file], None);
    let each = fs::read_to_string(&file).unwrap();
    for out in ["-", "/dev/stdout"] {
        let args = ["score", &dataset, &predictions, "zh", "--per-question", out];
        let output = run(&args, None);
        assert_eq!(text(&output.stdout), each, "{out}");
        assert!(text(&output.stderr).ends_with(DIGITS), "{out}");
    }
    let output = run(&["score", &dataset, &predictions, "zh", "--per-question", "/dev/null"], None);
    assert_eq!(text(&output.stdout), DIGITS);
    assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
}

#[test]
fn inputs_are_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let (dataset, predictions) = (at("dataset.json"), at("predictions.json"));
    fs::copy(scorer("zh/dataset.json"), &dataset).unwrap();
    fs::copy(scorer("zh/predictions.json"), &predictions).unwrap();
    let before = fs::read(&predictions).unwrap();
    for out in [&dataset, &predictions] {
        let args = ["score", &dataset, &predictions, "zh", "--per-question", out];
        refused(&run(&args, None), "one of the inputs");
    }
    let args = ["score", "-", &predictions, "zh", "--per-question", &dataset];
    refused(&run(&args, Some(&dataset)), "one of the inputs");
    assert_eq!(fs::read(&predictions).unwrap(), before);
    assert_eq!(fs::read(&dataset).unwrap(), fs::read(scorer("zh/dataset.json")).unwrap());
}

#[test]
fn files_are_read_with_a_mark_and_compressed() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let marked = |name: &str| {
        [b"\xef\xbb\xbf".to_vec(), fs::read(scorer(&format!("zh/{name}"))).unwrap()].concat()
    };
    fs::write(at("predictions.json"), marked("predictions.json")).unwrap();
    let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(&marked("dataset.json")).unwrap();
    fs::write(at("dataset.json.gz"), packer.finish().unwrap()).unwrap();
    let output = run(&["score", &at("dataset.json.gz"), &at("predictions.json"), "zh"], None);
    assert_eq!(text(&output.stdout), DIGITS, "{}", text(&output.stderr));
}

#[test]
fn the_files_of_a_matrix_appear_together() {
    let folder = tempfile::tempdir().unwrap();
    let [data, predictions, to] = ["data", "predictions", "to"].map(|name| {
        let path = folder.path().join(name);
        fs::create_dir(&path).unwrap();
        path.display().to_string()
    });
    // MTQA is English, French and German; nothing here is bound to MLQA's seven.
    let name = "test-context-fr-question-th.json";
    fs::copy(scorer("es/dataset.json"), Path::new(&data).join(name)).unwrap();
    fs::copy(scorer("es/predictions.json"), Path::new(&predictions).join(name)).unwrap();
    let args = ["matrix", "--data", &data, "--predictions", &predictions, "--out", &to];
    let page = Path::new(&to).join("matrix.html");
    fs::create_dir(&page).unwrap();
    refused(&run(&args, None), "matrix.html");
    assert_eq!(fs::read_dir(&to).unwrap().count(), 1);
    fs::remove_dir(&page).unwrap();
    let output = run(&args, None);
    assert!(text(&output.stdout).contains("| context \\ question | th |\n"));
    assert_eq!(fs::read_dir(&to).unwrap().count(), 3);
}

#[test]
fn an_error_is_one_line_whatever_the_input_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.json");
    let rows = r#"{"data": [{"paragraphs": [{"context": "a", "qas": [
        {"id": "x\n\u001b[2J", "question": "", "answers": []},
        {"id": "x\n\u001b[2J", "question": "", "answers": []}]}]}]}"#;
    fs::write(&path, rows).unwrap();
    let output = run(&["check", path.to_str().unwrap()], None);
    refused(&output, "x\\n\\u{1b}[2J");
    // Two questions without an answer, an id that is there twice, two texts of nothing; how many.
    assert_eq!(text(&output.stderr).lines().count(), 6);
}

#[test]
fn wrong_arguments_are_one_line() {
    for (args, words) in [
        (&["score", "a"][..], "<PREDICTIONS>"),
        (&["scor"], "; tip: some similar subcommands exist:"),
        (&["windows", "x", "--out", "y"], "--tokenizer <FILE>"),
        (&["score", "a", "b", "en", "--level", "x"], "invalid value 'x' for '--level <SHARE>'"),
        (&["score", "a\n\u{1b}[2J", "b", "en", "f"], "unexpected argument 'f'"),
    ] {
        if args.contains(&"windows") && !cfg!(feature = "windows") {
            continue;
        }
        let output = run(args, None);
        refused(&output, words);
        let error = text(&output.stderr);
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(error.starts_with("error: ") && error.ends_with("; try '--help'\n"), "{error}");
    }
    // Without any, where to find them.
    refused(&run(&[], None), "no command is given; try '--help'");
    assert!(text(&run(&["score", "--help"], None).stdout).contains("Usage:"));
}

/// Nothing that a terminal would obey goes to standard output, whatever files and names hold.
#[test]
fn tables_hold_no_control_characters() {
    let folder = tempfile::tempdir().unwrap();
    let name = |end: &str| folder.path().join(format!("\u{1b}]0;owned\u{7}\u{9b}{end}"));
    let bad = "\u{1b}[31m\u{202e}";
    let row = serde_json::json!({"id": "q", "question": "?", "passage": "a", "subtype": bad,
        "answer": {"start": 0, "end": 1, "text": "a"}});
    let [data, said] = [name("data.json"), name("said.json")];
    fs::write(&data, format!("[{row}]")).unwrap();
    fs::write(&said, r#"{"q": "a"}"#).unwrap();
    let [data, said] = [&data, &said].map(|path| path.to_str().unwrap());
    let to = folder.path().join("to").display().to_string();
    let beside = format!("{bad}={said}");
    let fixture = |name: &str| testkit::fixture(name).display().to_string();
    let (matrix, predictions) = (fixture("matrix/data"), fixture("matrix/predictions"));
    for args in [
        &["check", data][..],
        &["check", "--json", data],
        &["types", data, said, "en"],
        &["types", data, said, "en", "--format", "csv"],
        &["types", data, said, "en", "--format", "json"],
        &["types", data, said, "en", "--beside", &beside],
        &["boundary", data, "en", said],
        &["compare", "--data", data, "--language", "en", "--baseline", said, "--predictions", said],
        &["matrix", "--data", &matrix, "--predictions", &predictions, "--out", &to, "--title", bad],
    ] {
        let output = run(args, None);
        let out = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(out.contains("\\u001b"), "{args:?}: {out}");
        let obeyed = |c: char| c.is_control() && !"\n\t".contains(c) || c == '\u{202e}';
        assert!(!out.contains(obeyed), "{args:?}: {out:?}");
        if args.contains(&"--json") || args.contains(&"json") {
            let value: serde_json::Value = serde_json::from_str(&out).unwrap();
            assert!(value.to_string().contains("\\u001b"));
        }
    }
}

#[test]
fn numbers_of_nonsense_are_refused() {
    let (data, said) = (scorer("de/dataset.json"), scorer("de/predictions.json"));
    for (samples, words) in [("0", "1 or more"), ("1000000000000000000", "at most 10000000")] {
        let args = ["score", &data, &said, "de", "--intervals", "--samples", samples];
        let error = text(&run(&args, None).stderr);
        assert!(error.contains(&format!("samples = {samples}: must be {words}")), "{error}");
    }
    refused(&run(&["score", "--squad2", &data, &said, "--null-threshold", "nan"], None), "NaN");
}
