//! The binary: its files, and one clear line with exit code 2 on bad input.

use std::process::Command;

use crate::common::{countries, failure, read, run, stdout, write};
use kg_triples::{KnowledgeGraph, Sequence, SequenceConfig, build_sequences};
use tempfile::tempdir;

/// Whether a line of the table says `name` and ends in `count`.
fn says(table: &str, name: &str, count: usize) -> bool {
    table.lines().any(|line| {
        line.starts_with(name) && line.split_whitespace().last() == Some(count.to_string().as_str())
    })
}

fn mix_arguments(rest: &str) -> String {
    format!("mix --in kg --tokenizer {} {rest}", testkit::fixture("tokenizer.json").display())
}

#[test]
fn sample_mix_and_stats_work_together() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();

    let table = stdout(&run(dir.path(), "stats --in kg"));
    assert!(says(&table, "triples", 6) && says(&table, "entities", 9), "{table}");
    assert!(table.lines().any(|l| l.split_whitespace().eq(["zh", "9", "2", "6"])), "{table}");
    assert!(table.lines().any(|l| l.split_whitespace().eq(["P36", "3", "capital"])), "{table}");

    let table =
        stdout(&run(dir.path(), "sample --kg kg --languages en,de --count 4 --seed 1 --out s"));
    assert!(says(&table, "available", 6) && says(&table, "sampled", 4), "{table}");
    let sampled = KnowledgeGraph::read_dir(dir.path().join("s")).unwrap();
    assert_eq!((sampled.len(), sampled.languages().len()), (4, 2));

    let table = stdout(&run(dir.path(), &mix_arguments("--pairs en-de --out m/s.jsonl.gz")));
    assert!(says(&table, "sequences", 60), "{table}");
    let built = build_sequences(
        &countries(),
        ("en", "de"),
        &SequenceConfig::default(),
        &crate::common::tokenizer(),
    );
    assert_eq!(read::<Sequence>(dir.path().join("m/s.jsonl.gz")), built.unwrap().0);

    let table = stdout(&run(
        dir.path(),
        &mix_arguments(
            "--kinds mixed,concatenated --mixed-target both --masking fixed:12 --out d.jsonl",
        ),
    ));
    // Default pairs: en-de and en-zh.
    assert!(says(&table, "language pairs", 2) && says(&table, "sequences", 120), "{table}");
}

#[test]
fn texts_has_a_line_for_each_labelled_triple() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let table = stdout(&run(dir.path(), "texts --in kg --out texts"));
    for language in ["de", "en", "zh"] {
        let row = [language, "6", "0"];
        assert!(table.lines().any(|line| line.split_whitespace().eq(row)), "{table}");
    }
    let read =
        |name: &str| std::fs::read_to_string(dir.path().join("texts/train").join(name)).unwrap();
    let german: Vec<String> = read("triples.de.txt").lines().map(str::to_owned).collect();
    assert_eq!(german.len(), 6);
    assert!(german.contains(&"Deutschland Hauptstadt Berlin".to_owned()), "{german:?}");
    assert!(read("triples.zh.txt").contains("中国 官方语言 中文\n"));

    // A triple without a label is left out and counted; a language without any is refused.
    let kg = dir.path().join("kg");
    let labels = std::fs::read_to_string(kg.join("labels.tsv")).unwrap();
    let fewer: Vec<&str> = labels.lines().filter(|line| !line.contains("Berlin")).collect();
    write(&kg, "labels.tsv", fewer.join("\n") + "\n");
    let table = stdout(&run(dir.path(), "texts --in kg --languages de --out fewer"));
    assert!(table.lines().any(|line| line.split_whitespace().eq(["de", "5", "1"])), "{table}");
    assert!(!dir.path().join("fewer/train/triples.en.txt").exists());
    let error = failure(&run(dir.path(), "texts --in kg --languages fr --out none"));
    assert!(error.contains("all labels in fr"), "{error}");
    assert!(!dir.path().join("none").exists());
}

#[test]
fn unknown_languages_and_empty_results_are_errors() {
    let dir = tempdir().unwrap();
    let kg = dir.path().join("kg");
    countries().write_dir(&kg).unwrap();
    let error = failure(&run(dir.path(), "sample --kg kg --languages en,fr --out out"));
    assert!(error.contains("\"fr\"") && error.contains("de, en, zh"), "{error}");
    let error = failure(&run(dir.path(), &mix_arguments("--pairs en-fr --out out.jsonl")));
    assert!(error.contains("\"fr\""), "{error}");
    let error =
        failure(&run(dir.path(), "sample --kg kg --languages en --count 7 --strict --out out"));
    assert!(error.contains('6') && error.contains('7'), "{error}");
    let error = failure(&run(
        dir.path(),
        &mix_arguments("--pairs en-de --max-length 5 --kinds concatenated --out out.jsonl"),
    ));
    assert!(error.contains("nothing is left"), "{error}");
    write(&kg, "labels.tsv", "id\tlang\tlabel\tkind\nQ183\ten\tGermany\tentity\n");
    let error = failure(&run(dir.path(), "sample --kg kg --languages en --out out"));
    assert!(error.contains("nothing is left"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    write(dir.path(), "file", "");
    let error = failure(&run(dir.path(), "sample --kg kg --languages en --out file/out"));
    assert!(error.contains("file/out"), "{error}");
    let error = failure(&run(dir.path(), &mix_arguments("--pairs en-de --out file/out.jsonl")));
    assert!(error.contains("file"), "{error}");
    let error = failure(&run(dir.path(), &mix_arguments("--pairs en-de --out kg")));
    assert!(error.contains("kg"), "{error}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    // A limit of 1,024 bytes per file stands for a full disk.
    let program = env!("CARGO_BIN_EXE_kg-triples");
    let script = format!(
        "trap '' XFSZ; ulimit -f 1; exec {program} {}",
        mix_arguments("--pairs en-de --out out.jsonl")
    );
    let output =
        Command::new("bash").current_dir(dir.path()).args(["-c", &script]).output().unwrap();
    let error = failure(&output);
    assert!(error.contains("out.jsonl"), "{error}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing was written");
}

#[test]
fn a_bad_tokenizer_or_option_is_an_error() {
    let dir = tempdir().unwrap();
    countries().write_dir(dir.path().join("kg")).unwrap();
    let error = failure(&run(dir.path(), "mix --in kg --tokenizer none.json --out out.jsonl"));
    assert!(error.contains("none.json"), "{error}");
    for option in ["--kinds trilingual", "--masking fixed:x", "--pairs en", "--mixed-target any"] {
        let output = run(dir.path(), &mix_arguments(&format!("{option} --out out.jsonl")));
        assert_eq!(output.status.code(), Some(2), "{option}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: "), "{option}");
    }
}
