//! The examples of `--help`, run as they stand.
#![cfg(unix)]
use testkit::run_examples;

const PROGRAM: &str = env!("CARGO_BIN_EXE_qa-translate");

#[test]
fn examples_of_the_program_run() {
    let folder = run_examples(PROGRAM, &[], 3);
    assert!(folder.path().join("mixed/xquad-context-de-question-en.json").exists());
}

#[test]
fn examples_translate_run() {
    let folder = run_examples(PROGRAM, &["translate"], 2);
    assert!(folder.path().join("french/train-context-fr-question-fr.json").exists());
}

#[test]
fn examples_mix_run() {
    let folder = run_examples(PROGRAM, &["mix"], 3);
    assert!(folder.path().join("all/xquad-context-de-question-es.json").exists());
}

#[test]
fn examples_evidence_run() {
    let folder = run_examples(PROGRAM, &["evidence"], 2);
    assert!(folder.path().join("evidence/train-context-zh-question-zh.json").exists());
}

#[test]
fn examples_ner_run() {
    let folder = run_examples(PROGRAM, &["ner"], 1);
    assert!(folder.path().join("french/en.fr.conll").exists());
}
