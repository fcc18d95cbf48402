//! The examples of `--help`, run as they stand.
#![cfg(unix)]
use tempfile::TempDir;

/// Runs every example of a subcommand in a folder that looks like the workspace.
#[track_caller]
fn run(subcommand: &str, expected: usize) -> TempDir {
    testkit::run_examples(env!("CARGO_BIN_EXE_kg-triples"), &[subcommand], expected)
}

#[test]
fn examples_of_the_program_run() {
    let folder = testkit::run_examples(env!("CARGO_BIN_EXE_kg-triples"), &[], 11);
    assert!(folder.path().join("passages.jsonl.gz").exists());
}

#[test]
fn examples_of_extract_and_sample_run() {
    let folder = run("extract", 4);
    assert!(folder.path().join("kg/extract.json").exists());
    let folder = run("sample", 1);
    assert!(folder.path().join("sampled/triples.tsv").exists());
}

#[test]
fn examples_on_triples_run() {
    run("stats", 1);
    let folder = run("texts", 2);
    assert!(folder.path().join("texts/train/triples.de.txt").exists());
    let folder = run("mix", 4);
    assert!(folder.path().join("pairs/train/sequences.jsonl.gz").exists());
    assert!(folder.path().join("en-de.jsonl.gz").exists());
    assert!(folder.path().join("mixed/train/sequences.jsonl.gz").exists());
}

#[test]
fn examples_on_texts_run() {
    let folder = run("phrases", 1);
    assert!(folder.path().join("passages.jsonl.gz").exists());
    let folder = run("link", 1);
    assert!(folder.path().join("linked.jsonl.gz").exists());
    let folder = run("switch", 3);
    assert!(folder.path().join("switched.jsonl").exists());
    for code in ["de", "en", "zh"] {
        assert!(folder.path().join(format!("switched/train/switched.{code}.jsonl.gz")).exists());
    }
    assert!(folder.path().join("switched/probe/held-out.jsonl.gz").exists());
    let folder = run("entailment", 2);
    assert!(folder.path().join("entailment.jsonl.gz").exists());
    assert!(folder.path().join("triples/probe/candidates.jsonl.gz").exists());
    let folder = run("pairs", 2);
    assert!(folder.path().join("pairs.jsonl").exists());
    assert!(folder.path().join("pairs/probe/held-out.jsonl.gz").exists());
    let folder = run("mentions", 2);
    assert!(folder.path().join("mentions.jsonl.gz").exists());
    assert!(folder.path().join("mentions/probe/unseen-pairs.jsonl.gz").exists());
}
