//! The program: what it prepares, and one clear line with exit code 2 on bad input.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::path::Path;
use std::process::{Command, Output};

use shards::Manifest;

const PROGRAM: &str = env!("CARGO_BIN_EXE_demo-data");

fn run(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(PROGRAM);
    command.current_dir(folder).args(arguments.split_whitespace()).output().unwrap()
}

/// The one line on stderr of a run that must fail with exit code 2 and print nothing else.
#[track_caller]
fn failure(output: &Output) -> String {
    let error = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty());
    assert!(error.starts_with("error: ") && error.trim_end().lines().count() == 1, "{error}");
    error
}

#[cfg(unix)]
#[test]
fn examples_of_the_program_run_and_leave_whole_folders() {
    let folder = testkit::run_examples(PROGRAM, &[], 10);
    for (name, file) in [
        ("questions", "train-context-en-question-en.json"),
        ("questions", "test-context-en-question-zh.json"),
        ("questions", "heads.test.txt"),
        ("parallel", "train-context-de-question-de.json"),
        ("pairs", "xnli.test.to-en.tsv"),
        ("clozes", "test/de/templates.jsonl"),
        ("divided", "second/xquad.de.json"),
        ("articles", "train-context-en-question-en.json"),
        ("fold-1", "test-context-zh-question-en.json"),
        ("cloze", "dev-context-zh-question-zh.json"),
        ("text", "vi.json"),
        ("found", "queries.jsonl.gz"),
    ] {
        let manifest = Manifest::read(folder.path().join(name)).unwrap().unwrap();
        manifest.check(folder.path().join(name)).unwrap();
        assert!(manifest.files.contains_key(file), "{name}: {:?}", manifest.files.keys());
        assert!(manifest.program.starts_with("demo-data ") && !manifest.inputs.is_empty());
    }
    // What trains an arm that must not see the entities of the test questions.
    let heads = std::fs::read_to_string(folder.path().join("questions/heads.test.txt")).unwrap();
    let triples = std::fs::read_to_string(folder.path().join("data/demo/kg/triples.tsv")).unwrap();
    assert!(heads.lines().count() > 10);
    for head in heads.lines() {
        assert!(triples.contains(&format!("\n{head}\t")), "{head}");
    }
}

#[test]
fn what_cannot_be_used_is_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data").canonicalize().unwrap();
    let facts = format!(
        "fact-questions --kg {0}/demo/kg --templates {0}/demo/templates.tsv",
        data.display()
    );
    let cloze = format!("cloze-questions --extracts {0}/codex --sentences {0}/pud", data.display());
    let divided = format!("xquad-split --xquad {}/xquad", data.display());
    for (arguments, piece) in [
        (String::new(), "no command is given"),
        (format!("{facts} --items 0"), "items = 0: must be 1 or more"),
        (format!("{facts} --items 1000000000000"), "items = 1000000000000"),
        (format!("{facts} --split 0.5,0.5"), "expected three numbers"),
        (format!("{facts} --split 0.5,0.5,0.5"), "three shares in 0..=1 that add up to 1"),
        (format!("{facts} --languages en,en"), "names each language once"),
        (format!("{facts} --languages en,fr"), "language \"fr\" has no label"),
        (format!("{facts} --kg nowhere"), "cannot be used multiple times"),
        (facts.replace("templates.tsv", "none.tsv"), "none.tsv"),
        (format!("{cloze} --train-items 0"), "--train-items"),
        (format!("{cloze} --context-words 5"), "--context-words"),
        (format!("{cloze} --languages fr"), "--languages"),
        (format!("{cloze} --languages de"), "--paragraphs"),
        (format!("{divided} --first 48"), "must be 1 or more, and fewer than 48"),
        (format!("{divided} --first 0"), "--first 0"),
        (format!("{divided} --first 3 --dev 0.2"), "cannot be used with"),
        (format!("{divided} --fold 5/4"), "such as 1/4"),
        (format!("{divided} --train 1.0"), "together below 1"),
        (format!("{divided} --languages en,fr"), "xquad.fr.json"),
    ] {
        let arguments = match arguments.is_empty() {
            true => arguments,
            false => format!("{arguments} --out out"),
        };
        let error = failure(&run(folder.path(), &arguments));
        assert!(error.contains(piece), "{arguments}: {error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "{arguments}");
    }
}

#[test]
fn a_wrong_template_leaves_the_folder_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/demo");
    let templates = folder.path().join("templates.tsv");
    std::fs::copy(data.join("templates.tsv"), &templates).unwrap();
    let kg = data.join("kg");
    let clozes =
        format!("clozes --languages en --kg {} --templates templates.tsv --out out", kg.display());
    assert!(run(folder.path(), &clozes).status.success());
    let before = Manifest::read(folder.path().join("out")).unwrap();
    for wrong in ["<!DOCTYPE html>\n", "", "\n\n", "relation_id\tlang\tkind\ttemplate\n"] {
        std::fs::write(&templates, wrong).unwrap();
        failure(&run(folder.path(), &clozes));
        assert_eq!(Manifest::read(folder.path().join("out")).unwrap(), before);
    }
}
