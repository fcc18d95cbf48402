//! The examples of `--help`, run as they stand.
#![cfg(unix)]
use testkit::run_examples;

const PROGRAM: &str = env!("CARGO_BIN_EXE_transfer-eval");

#[test]
fn examples_of_the_program_run() {
    let folder = run_examples(PROGRAM, &[], 11);
    assert!(folder.path().join("xep.json").exists());
}

#[test]
fn examples_ner_run() {
    run_examples(PROGRAM, &["ner"], 1);
}

#[test]
fn examples_xnli_run() {
    run_examples(PROGRAM, &["xnli"], 1);
}

#[test]
fn examples_lama_clozes_run() {
    let folder = run_examples(PROGRAM, &["lama", "clozes"], 1);
    assert!(folder.path().join("clozes.jsonl").exists());
}

#[test]
fn examples_lama_score_run() {
    run_examples(PROGRAM, &["lama", "score"], 2);
}

#[test]
fn examples_retrieval_list_run() {
    let folder = run_examples(PROGRAM, &["retrieval", "list"], 1);
    assert!(folder.path().join("xep.json").exists());
}

#[test]
fn examples_retrieval_score_run() {
    run_examples(PROGRAM, &["retrieval", "score"], 2);
}

#[test]
fn examples_map_vectors_run() {
    let folder = run_examples(PROGRAM, &["map", "vectors"], 2);
    assert!(folder.path().join("pud-de.vec").exists());
}

#[test]
fn examples_map_fit_run() {
    let folder = run_examples(PROGRAM, &["map", "fit"], 3);
    assert!(folder.path().join("en-de.safetensors").exists());
}

#[test]
fn examples_map_apply_run() {
    let folder = run_examples(PROGRAM, &["map", "apply"], 5);
    assert!(folder.path().join("mapped-en.vec").exists());
}

#[test]
fn examples_map_score_run() {
    run_examples(PROGRAM, &["map", "score"], 4);
}

#[test]
fn examples_table_run() {
    run_examples(PROGRAM, &["table"], 2);
}
