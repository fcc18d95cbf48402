//! Tests of the program: its output files, and its error line and exit code 2 for invalid input.

use std::process::Command;

use crate::common::{
    countries, countries_folder, expect_errors, failure, has_row, mix_arguments, read, run, stdout,
    write,
};
use kg_triples::{KnowledgeGraph, Sequence, SequenceConfig, build_sequences};

#[test]
fn sample_mix_and_stats_work_together() {
    let dir = countries_folder();
    let expect_rows = |arguments: &str, rows: &[&str]| {
        let table = stdout(&run(dir.path(), arguments));
        for row in rows {
            assert!(has_row(&table, row), "{row}\n{table}");
        }
    };
    expect_rows("stats --in kg", &["triples 6", "entities 9", "zh 9 2 6", "P36 3 capital"]);
    let sample = "sample --kg kg --languages en,de --count 4 --seed 1 --out s";
    expect_rows(sample, &["available 6", "sampled 4"]);
    let sampled = KnowledgeGraph::read_dir(dir.path().join("s")).unwrap();
    assert_eq!((sampled.len(), sampled.languages().len()), (4, 2));

    expect_rows(&mix_arguments("--pairs en-de --out m/s.jsonl.gz"), &["sequences 60"]);
    let built = build_sequences(
        &countries(),
        ("en", "de"),
        &SequenceConfig::default(),
        &crate::common::tokenizer(),
    );
    assert_eq!(read::<Sequence>(dir.path().join("m/s.jsonl.gz")), built.unwrap().0);

    // The default pairs are en-de and en-zh.
    let options = "--kinds mixed,concatenated --mixed-target both --masking fixed:12";
    let rows = ["language pairs 2", "sequences 120"];
    expect_rows(&mix_arguments(&format!("{options} --out d.jsonl")), &rows);
}

#[test]
fn texts_has_a_line_for_each_labelled_triple() {
    let dir = countries_folder();
    let table = stdout(&run(dir.path(), "texts --in kg --out texts"));
    for language in ["de", "en", "zh"] {
        assert!(has_row(&table, &format!("{language} 6 0")), "{table}");
    }
    let read =
        |name: &str| std::fs::read_to_string(dir.path().join("texts/train").join(name)).unwrap();
    let german: Vec<String> = read("triples.de.txt").lines().map(str::to_owned).collect();
    assert_eq!(german.len(), 6);
    assert!(german.contains(&"Deutschland Hauptstadt Berlin".to_owned()), "{german:?}");
    assert!(read("triples.zh.txt").contains("中国 官方语言 中文\n"));

    // A triple without all labels is skipped and counted.
    let kg = dir.path().join("kg");
    let labels = std::fs::read_to_string(kg.join("labels.tsv")).unwrap();
    let lines: Vec<&str> = labels.lines().filter(|line| !line.contains("Berlin")).collect();
    write(&kg, "labels.tsv", lines.join("\n") + "\n");
    let table = stdout(&run(dir.path(), "texts --in kg --languages de --out fewer"));
    assert!(has_row(&table, "de 5 1"), "{table}");
    assert!(!dir.path().join("fewer/train/triples.en.txt").exists());
    // If the file of one language would be empty, no file is written.
    let error = failure(&run(dir.path(), "texts --in kg --languages de,fr --out none"));
    assert!(error.contains("all labels in fr"), "{error}");
    assert!(!dir.path().join("none").exists());
}

#[test]
fn bad_input_is_reported_and_writes_no_file() {
    let dir = countries_folder();
    write(dir.path(), "file", "");
    countries().write_dir(dir.path().join("few")).unwrap();
    let label = "id\tlang\tlabel\tkind\nQ183\ten\tGermany\tentity\n";
    write(&dir.path().join("few"), "labels.tsv", label);
    let sample_cases = [
        (
            "--kg kg --languages en,fr",
            "\"fr\" has no label in this knowledge graph; languages with labels: de, en, zh",
        ),
        ("--kg few --languages en", "no data"),
    ];
    expect_errors(dir.path(), "sample", &sample_cases);
    let mix_cases = [
        ("--pairs en-fr", "\"fr\""),
        ("--pairs en-de --max-length 5 --kinds concatenated", "no data"),
    ];
    expect_errors(dir.path(), &mix_arguments(""), &mix_cases);
    let tokenizer_cases = [("--tokenizer none.json", "none.json")];
    expect_errors(dir.path(), "mix --in kg", &tokenizer_cases);
    for (arguments, expected) in [
        ("sample --kg kg --languages en --out file/out".to_owned(), "file/out"),
        (mix_arguments("--pairs en-de --out file/out.jsonl"), "file"),
        (mix_arguments("--pairs en-de --out kg"), "kg"),
        (mix_arguments("--kinds trilingual --out out.jsonl"), "trilingual"),
        (mix_arguments("--masking fixed:x --out out.jsonl"), "fixed:x"),
        (mix_arguments("--pairs en --out out.jsonl"), "--pairs"),
        (mix_arguments("--mixed-target any --out out.jsonl"), "any"),
    ] {
        let error = failure(&run(dir.path(), &arguments));
        assert!(error.contains(expected), "{arguments}: {error}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3, "nothing was written");
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_no_partial_file() {
    let dir = countries_folder();
    // A limit of 1,024 bytes per file simulates a full disk.
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
