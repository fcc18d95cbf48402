//! The examples of `--help`, run as they stand.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers of tests
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the first paragraph of examples says, a command a line: those on embedded data.
fn examples(subcommand: &str) -> Vec<String> {
    let mut help = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    // Lines are not to be wrapped.
    let output = help.args([subcommand, "--help"]).env("COLUMNS", "10000").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().skip_while(|line| *line != "Examples:").skip(1);
    lines.take_while(|line| line.starts_with("  ")).map(|line| line.trim().to_owned()).collect()
}

/// Runs every example of a subcommand in a folder that looks like the workspace.
#[track_caller]
fn run(subcommand: &str, expected: usize) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for name in ["data", "crates"] {
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name)).unwrap();
    }
    let program = PathBuf::from(env!("CARGO_BIN_EXE_kg-triples"));
    let paths = std::env::var("PATH").unwrap();
    let paths = format!("{}:{paths}", program.parent().unwrap().display());
    let examples = examples(subcommand);
    assert_eq!(examples.len(), expected, "{examples:?}");
    for example in examples {
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", &example]).current_dir(&folder).env("PATH", &paths);
        let output = shell.output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !output.stdout.is_empty(), "{example}: {error}");
    }
    folder
}

#[test]
fn examples_of_extract_and_sample_run() {
    let folder = run("extract", 4);
    assert!(folder.path().join("kg/extract.json").exists());
    let folder = run("sample", 2);
    assert!(folder.path().join("sampled/triples.tsv").exists());
}

#[test]
fn examples_on_triples_run() {
    run("stats", 1);
    let folder = run("texts", 2);
    assert!(folder.path().join("texts/triples.de.txt").exists());
    let folder = run("mix", 3);
    assert!(folder.path().join("en-de.jsonl.gz").exists());
    let folder = run("questions", 2);
    assert!(folder.path().join("qa/test-context-en-question-de.json").exists());
}

#[test]
fn examples_on_texts_run() {
    let folder = run("phrases", 1);
    assert!(folder.path().join("passages.jsonl.gz").exists());
    let folder = run("link", 1);
    assert!(folder.path().join("linked.jsonl.gz").exists());
    let folder = run("entailment", 1);
    assert!(folder.path().join("entailment.jsonl.gz").exists());
    let folder = run("mentions", 1);
    assert!(folder.path().join("mentions.jsonl.gz").exists());
}
