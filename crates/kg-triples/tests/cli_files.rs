//! The program's files: inputs that are kept, outputs that are pipes, text files as they come.
#![cfg(unix)]
#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

use common::countries;
use flate2::Compression;
use flate2::write::GzEncoder;
use kg_triples::{KnowledgeGraph, jsonl};
use tempfile::tempdir;

fn run(dir: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    command.current_dir(dir).args(arguments.split_whitespace()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The one line on stderr of a run that must fail with exit code 2 and print nothing else.
#[track_caller]
fn failure(output: &Output) -> String {
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(output.stdout.is_empty() && error.trim_end().lines().count() == 1, "{error}");
    error
}

fn mix_arguments(rest: &str) -> String {
    format!("mix --in kg --tokenizer {} {rest}", testkit::fixture("tokenizer.json").display())
}

#[test]
fn an_output_that_is_an_input_is_refused() {
    let dir = tempdir().unwrap();
    let kg = dir.path().join("kg");
    countries().write_dir(&kg).unwrap();
    let before = fs::read(kg.join("triples.tsv")).unwrap();
    let error = failure(&run(dir.path(), "sample --kg kg --languages en,de --count 2 --out kg"));
    assert!(error.contains("kg/triples.tsv") && error.contains("one of the inputs"), "{error}");
    // By another name.
    std::os::unix::fs::symlink("kg", dir.path().join("link")).unwrap();
    failure(&run(dir.path(), "sample --kg kg --languages en,de --count 2 --out link"));
    let error = failure(&run(dir.path(), &mix_arguments("--out kg/labels.tsv")));
    assert!(error.contains("kg/labels.tsv"), "{error}");
    assert_eq!(fs::read(kg.join("triples.tsv")).unwrap(), before);
    assert_eq!(KnowledgeGraph::read_dir(&kg).unwrap(), countries());
    assert_eq!(fs::read_dir(&kg).unwrap().count(), 2);
}

#[test]
fn standard_output_takes_the_file_and_the_counts_go_elsewhere() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    run(dir.path(), &mix_arguments("--pairs en-de --out file.jsonl"));
    let file = fs::read(dir.path().join("file.jsonl")).unwrap();
    assert_eq!(jsonl::read(dir.path().join("file.jsonl")).unwrap().len(), 60);
    for out in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let output = run(dir.path(), &mix_arguments(&format!("--pairs en-de --out {out}")));
        assert!(output.status.success(), "{out}: {}", text(&output.stderr));
        assert_eq!(output.stdout, file, "{out}");
        assert!(text(&output.stderr).contains("masked tokens"), "{out}");
    }
    assert!(!dir.path().join("-").exists());
    // A link stays, and what it names gets the file.
    std::os::unix::fs::symlink("target.jsonl", dir.path().join("link.jsonl")).unwrap();
    assert!(run(dir.path(), &mix_arguments("--pairs en-de --out link.jsonl")).status.success());
    assert!(fs::symlink_metadata(dir.path().join("link.jsonl")).unwrap().is_symlink());
    assert_eq!(fs::read(dir.path().join("target.jsonl")).unwrap(), file);
}

#[test]
fn texts_of_all_languages_appear_or_none() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let error = failure(&run(dir.path(), "texts --in kg --languages de,fr --out texts"));
    assert!(error.contains("all labels in fr"), "{error}");
    assert!(!dir.path().join("texts/triples.de.txt").exists());
}

#[test]
fn tables_are_read_with_a_mark_compressed_and_with_blank_lines() {
    let dir = tempdir().unwrap();
    let kg = dir.path().join("kg");
    countries().write_dir(&kg).unwrap();
    for name in ["triples.tsv", "labels.tsv"] {
        let plain = fs::read(kg.join(name)).unwrap();
        let marked = [b"\xef\xbb\xbf", &plain[..], b"  \n\n"].concat();
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(&marked).unwrap();
        for bytes in [marked.clone(), packer.finish().unwrap()] {
            fs::write(kg.join(name), bytes).unwrap();
            assert_eq!(KnowledgeGraph::read_dir(&kg).unwrap(), countries(), "{name}");
        }
    }
}

#[test]
fn a_cut_last_line_is_noted_and_control_characters_are_escaped() {
    let dir = tempdir().unwrap();
    let kg = dir.path().join("kg");
    countries().write_dir(&kg).unwrap();
    assert!(!text(&run(dir.path(), "stats --in kg").stderr).contains("note:"));
    let labels = fs::read_to_string(kg.join("labels.tsv")).unwrap();
    fs::write(kg.join("labels.tsv"), labels.trim_end()).unwrap();
    let output = run(dir.path(), "stats --in kg");
    let note = text(&output.stderr);
    assert!(output.status.success());
    assert!(note.starts_with("note: kg/labels.tsv: the last line has no line end"), "{note}");
    // Tables that are read in blocks are noted, too.
    let sampled = run(dir.path(), "sample --kg kg --languages en,de --count 2 --out s");
    assert!(text(&sampled.stderr).contains("note: kg/labels.tsv"));

    fs::write(kg.join("labels.tsv"), format!("{labels}Q1\u{1b}[2J\ten\tBern\tplace\n")).unwrap();
    fs::write(kg.join("triples.tsv"), "head_id\u{1b}[2J\n").unwrap();
    let error = failure(&run(dir.path(), "stats --in kg"));
    assert!(!error.contains('\u{1b}') && error.contains("u{1b}"), "{error}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    let error =
        failure(&command.args(["stats", "--in", "no\nsuch\u{202e}folder"]).output().unwrap());
    assert!(error.contains("no\\nsuch\\u{202e}folder"), "{error}");
}

#[test]
fn masks_without_end_are_refused() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    for masks in ["18446744073709551615", "1000000000", "61"] {
        let arguments = mix_arguments(&format!("--masking fixed:{masks} --out out.jsonl"));
        let error = failure(&run(dir.path(), &arguments));
        assert!(error.contains("max_length - 4"), "{error}");
    }
    let output = run(dir.path(), &mix_arguments("--masking fixed:60 --out out.jsonl"));
    assert!(output.status.code() != Some(101), "{}", text(&output.stderr));
}

#[test]
fn a_cut_tokenizer_is_an_error() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let whole = fs::read(testkit::fixture("tokenizer.json")).unwrap();
    fs::write(dir.path().join("cut.json"), &whole[..whole.len() / 2]).unwrap();
    let error = failure(&run(dir.path(), "mix --in kg --tokenizer cut.json --out out.jsonl"));
    assert!(error.contains("cut.json") && error.contains("--tokenizer"), "{error}");
}
