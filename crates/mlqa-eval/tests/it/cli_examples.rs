//! The examples of `--help`, run as they stand.
#![cfg(unix)]
use testkit::run_examples;

const PROGRAM: &str = env!("CARGO_BIN_EXE_mlqa-eval");

#[test]
fn examples_of_the_program_run() {
    let folder = run_examples(PROGRAM, &[], 4);
    assert!(folder.path().join("run/matrix.json").exists());
}

#[test]
fn examples_score_run() {
    run_examples(PROGRAM, &["score"], 3);
}

#[test]
fn examples_matrix_run() {
    let folder = run_examples(PROGRAM, &["matrix"], 1);
    assert!(folder.path().join("tables/matrix.html").exists());
}

#[test]
fn examples_boundary_run() {
    run_examples(PROGRAM, &["boundary"], 1);
}

#[test]
fn examples_check_run() {
    run_examples(PROGRAM, &["check"], 2);
}

#[cfg(feature = "windows")]
#[test]
fn examples_coverage_run() {
    run_examples(PROGRAM, &["coverage"], 1);
}

#[test]
fn examples_types_run() {
    run_examples(PROGRAM, &["types"], 1);
}

#[test]
fn examples_tables_run() {
    run_examples(PROGRAM, &["tables"], 2);
}

#[test]
fn examples_compare_run() {
    run_examples(PROGRAM, &["compare"], 3);
}

#[cfg(feature = "windows")]
#[test]
fn examples_windows_run() {
    let folder = run_examples(PROGRAM, &["windows"], 1);
    assert!(folder.path().join("windows.safetensors").exists());
}

#[cfg(feature = "windows")]
#[test]
fn examples_decode_are_understood() {
    run_examples(PROGRAM, &["decode"], 0);
}
