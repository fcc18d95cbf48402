//! Tests of the program's files: inputs are not overwritten, output can be a pipe, and text files
//! may have variants such as a missing line end.
#![cfg(unix)]

use std::fs;
use std::process::Command;

use crate::common::{
    contents, countries, countries_folder, failure, mix_arguments, read, run, stdout,
};
use kg_triples::{KnowledgeGraph, Sequence};
use shards::Manifest;

fn to_text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn an_output_that_is_an_input_is_rejected() {
    let dir = countries_folder();
    let kg = dir.path().join("kg");
    let before = fs::read(kg.join("triples.tsv")).unwrap();
    let error = failure(&run(dir.path(), "sample --kg kg --languages en,de --count 2 --out kg"));
    assert!(error.contains("kg/triples.tsv") && error.contains("one of the inputs"), "{error}");
    let error = failure(&run(dir.path(), &mix_arguments("--out kg/labels.tsv")));
    assert!(error.contains("kg/labels.tsv"), "{error}");
    assert_eq!(fs::read(kg.join("triples.tsv")).unwrap(), before);
    assert_eq!(KnowledgeGraph::read_dir(&kg).unwrap(), countries());
    assert_eq!(fs::read_dir(&kg).unwrap().count(), 2);
}

#[test]
fn a_finished_extract_with_other_options_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(testkit::fixture("dump.json"), dir.path().join("dump.json")).unwrap();
    let extract =
        |options: &str| run(dir.path(), &format!("extract --dump dump.json --out kg {options}"));
    stdout(&extract("--languages en,de"));
    let labels = || fs::read(dir.path().join("kg/labels.tsv")).unwrap();
    let before = labels();
    let error = failure(&extract("--languages en,zh"));
    assert!(error.contains("languages en,de") && error.contains("--restart"), "{error}");
    for (options, old) in [
        ("--tables labels", "the tables triples,labels,redirects"),
        ("--lookup exact", "the lookup wikidata"),
        ("--mul any-script", "names of mul in the same script only"),
        ("--fallback de=gsw", "no --fallback for de"),
    ] {
        let error = failure(&extract(&format!("--languages en,de {options}")));
        assert!(error.contains(&format!("a finished extract with {old};")), "{error}");
    }
    assert_eq!(labels(), before);
    stdout(&extract("--languages de,en"));
    stdout(&extract("--languages de,en --tables triples,labels,redirects,aliases"));
    stdout(&extract(
        "--languages de,en,zh --tables triples,labels,redirects,aliases --fallback zh=ja",
    ));
    let output = extract("--languages en,tlh --restart");
    stdout(&output);
    let note = to_text(&output.stderr);
    assert!(note.contains("no item or property has a label in tlh"), "{note}");
    stdout(&extract("--languages en,zh --restart"));
    assert_ne!(labels(), before);
    // The options of an unfinished extract are compared when it is resumed.
    fs::create_dir(dir.path().join("kg/.extract")).unwrap();
    fs::write(dir.path().join("kg/.extract/state.json"), "{").unwrap();
    let error = failure(&extract("--languages en,de"));
    assert!(error.contains("state of an unfinished extract cannot be read"), "{error}");
}

#[test]
fn codes_that_are_mistaken_for_others_are_rejected() {
    let dir = countries_folder();
    for (code, meant) in [("cn", "`zh`"), ("english", "`en`"), ("deu", "`de`"), ("cmn", "`zh`")] {
        for command in [
            format!("extract --dump none --languages en,{code}"),
            format!("switch --texts none --labels none --source {code}"),
            format!("link --wiki {code}=none --sitelinks none"),
        ] {
            let error = failure(&run(dir.path(), &format!("{command} --out out")));
            assert!(error.contains(code) && error.contains(meant), "{command}: {error}");
            assert!(!dir.path().join("out").exists());
        }
    }
}

#[test]
fn with_output_to_stdout_counts_are_printed_to_stderr() {
    let dir = countries_folder();
    run(dir.path(), &mix_arguments("--pairs en-de --out file.jsonl"));
    let file = fs::read(dir.path().join("file.jsonl")).unwrap();
    assert_eq!(read::<Sequence>(dir.path().join("file.jsonl")).len(), 60);
    for out in ["-", "/dev/stdout", "/proc/self/fd/1"] {
        let output = run(dir.path(), &mix_arguments(&format!("--pairs en-de --out {out}")));
        assert!(output.status.success(), "{out}: {}", to_text(&output.stderr));
        assert_eq!(output.stdout, file, "{out}");
        assert!(to_text(&output.stderr).contains("masked tokens"), "{out}");
    }
    assert!(!dir.path().join("-").exists());
}

#[test]
fn a_missing_newline_is_noted_and_control_characters_are_escaped() {
    let dir = countries_folder();
    let kg = dir.path().join("kg");
    assert!(!to_text(&run(dir.path(), "stats --in kg").stderr).contains("note:"));
    let labels = fs::read_to_string(kg.join("labels.tsv")).unwrap();
    fs::write(kg.join("labels.tsv"), labels.trim_end()).unwrap();
    let output = run(dir.path(), "stats --in kg");
    let note = to_text(&output.stderr);
    assert!(output.status.success());
    assert!(note.starts_with("note: kg/labels.tsv: the last line has no line end"), "{note}");
    // `sample` reads tables in blocks and prints the note as well.
    let sampled = run(dir.path(), "sample --kg kg --languages en,de --count 2 --out s");
    assert!(to_text(&sampled.stderr).contains("note: kg/labels.tsv"));

    fs::write(kg.join("labels.tsv"), format!("{labels}Q1\u{1b}[2J\ten\tBern\tplace\n")).unwrap();
    fs::write(kg.join("triples.tsv"), "head_id\u{1b}[2J\n").unwrap();
    let error = failure(&run(dir.path(), "stats --in kg"));
    assert!(!error.contains('\u{1b}') && error.contains("u{1b}"), "{error}");
    let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
    let error =
        failure(&command.args(["stats", "--in", "no\nsuch\u{202e}folder"]).output().unwrap());
    assert!(error.contains("no\\nsuch\\u{202e}folder"), "{error}");
}

/// A folder with input files of every format.
fn input_folder() -> tempfile::TempDir {
    let dir = countries_folder();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    fs::create_dir(dir.path().join("pages")).unwrap();
    for (code, country, text) in [
        ("en", "Germany", "Berlin lies in Germany."),
        ("de", "Deutschland", "Berlin liegt in Deutschland."),
    ] {
        write(
            &format!("pages/entities.{code}.jsonl"),
            &format!(
                "{{\"id\":\"Q64\",\"label\":\"Berlin\",\"extract\":\"{text}\"}}\n\
                 {{\"id\":\"Q183\",\"label\":\"{country}\",\"extract\":\"{country}: Berlin\"}}\n"
            ),
        );
    }
    fs::copy(testkit::fixture("dump.json"), dir.path().join("dump.json")).unwrap();
    fs::copy(testkit::fixture("queries.jsonl"), dir.path().join("queries.jsonl")).unwrap();
    write(
        "linked.jsonl",
        r#"{"id":"1","lang":"en","text":"Germany.","mentions":[{"start":0,"end":7,"entity":"Q183"}]}"#,
    );
    write(
        "corpus.jsonl",
        r#"{"id":1,"language":"de","en_sentence":"<en>Germany</en>.","cs_sentence":"<de>Deutschland</de>."}"#,
    );
    dir
}

#[test]
fn an_invalid_input_does_not_change_the_output() {
    let tokenizer = testkit::fixture("tokenizer.json").display().to_string();
    let tables: &[&[&str]] = &[&["kg/triples.tsv"], &["kg/labels.tsv"]];
    let pages: &[&[&str]] = &[&["pages/entities.en.jsonl", "pages/entities.de.jsonl"]];
    let commands: [(&str, &[&[&str]]); 10] = [
        ("extract --dump dump.json --languages en,de", &[&["dump.json"]]),
        ("sample --kg kg --languages en,de --count 2", tables),
        ("texts --in kg", tables),
        ("mix --in kg --tokenizer T --pairs en-de", tables),
        ("link --entities pages", pages),
        ("mentions --entities pages --tokenizer T", pages),
        ("entailment --kg kg --synthetic --tokenizer T", tables),
        (
            "switch --texts linked.jsonl --labels kg/labels.tsv --languages de",
            &[tables[1], &["linked.jsonl"]],
        ),
        ("switch --tagged corpus.jsonl", &[&["corpus.jsonl"]]),
        ("phrases --queries queries.jsonl --min-chars 0 --unequal", &[&["queries.jsonl"]]),
    ];
    let invalid: [&[u8]; 5] = [
        b"<!DOCTYPE html>\n<html>503 Service Unavailable</html>\n",
        b"",
        b"\n\n",
        b"{}\n",
        b"\x1f\x8b\x08",
    ];
    let dir = input_folder();
    for (command, files) in commands {
        let command = format!("{} --out out", command.replace('T', &tokenizer));
        let output = run(dir.path(), &command);
        assert!(output.status.success(), "{command}: {}", to_text(&output.stderr));
        let before = contents(&dir.path().join("out"));
        for (files, bytes) in files.iter().flat_map(|files| invalid.map(|bytes| (files, bytes))) {
            let files = files.iter().map(|name| dir.path().join(name));
            let files: Vec<_> = files.map(|path| (fs::read(&path).unwrap(), path)).collect();
            files.iter().for_each(|(_, path)| fs::write(path, bytes).unwrap());
            let error = failure(&run(dir.path(), &command));
            assert_eq!(contents(&dir.path().join("out")), before, "{command}: {error}");
            files.iter().for_each(|(bytes, path)| fs::write(path, bytes).unwrap());
        }
        match dir.path().join("out") {
            out if out.is_dir() => fs::remove_dir_all(out).unwrap(),
            out => fs::remove_file(out).unwrap(),
        }
    }
}

#[test]
fn duplicate_languages_are_rejected() {
    let dir = input_folder();
    let tokenizer = format!("--tokenizer {}", testkit::fixture("tokenizer.json").display());
    for command in [
        "extract --dump dump.json --languages en,de,EN".to_owned(),
        "extract --dump dump.json --languages en --fallback en=de,de".to_owned(),
        "sample --kg kg --languages en,de,de".to_owned(),
        "texts --in kg --languages en,en".to_owned(),
        format!("mix --in kg {tokenizer} --pairs en-de,en-de"),
        "link --entities pages --languages en,en".to_owned(),
        format!("mentions --entities pages {tokenizer} --languages en,en"),
        format!("entailment --kg kg --synthetic {tokenizer} --languages en,en"),
        "switch --texts linked.jsonl --labels kg/labels.tsv --languages de,de".to_owned(),
        "switch --texts linked.jsonl --labels kg/labels.tsv --languages de --pool zh,zh".to_owned(),
    ] {
        let error = failure(&run(dir.path(), &format!("{command} --out out")));
        assert!(error.contains("must be a list that names each language once"), "{error}");
    }
}

#[test]
fn folders_files_and_files_by_pair_have_equal_sequences() {
    let dir = countries_folder();
    let mix = |options: &str| stdout(&run(dir.path(), &mix_arguments(options)));
    let read = |name: &str| read::<Sequence>(dir.path().join(name));
    mix("--pairs en-de,en-zh --out all.jsonl");
    mix("--pairs en-de,en-zh --out all");
    assert_eq!(read("all/train/sequences.jsonl.gz"), read("all.jsonl"));
    let manifest = Manifest::read(dir.path().join("all")).unwrap().unwrap();
    let tokens: usize = read("all.jsonl").iter().map(|sequence| sequence.input_ids.len()).sum();
    assert_eq!(manifest.counts["tokens"], tokens);
    mix("--pairs en-zh --out zh.jsonl");
    mix("--pairs en-de,en-zh --by-pair --out pairs");
    assert_eq!(read("pairs/train/en-zh.jsonl.gz"), read("zh.jsonl"));
    assert_eq!(read("pairs/train/en-de.jsonl.gz").len(), read("zh.jsonl").len());
    let error = failure(&run(dir.path(), &mix_arguments("--pairs en-de --by-pair --out o.jsonl")));
    assert!(error.contains("must be a folder for --by-pair"), "{error}");

    fs::write(dir.path().join("heads.txt"), "Q183\n").unwrap();
    mix("--pairs en-zh --without-heads heads.txt --out fewer.jsonl");
    let triples = fs::read_to_string(dir.path().join("kg/triples.tsv")).unwrap();
    let remaining_lines: Vec<&str> =
        triples.lines().filter(|line| !line.starts_with("Q183\t")).collect();
    assert!(remaining_lines.len() < triples.lines().count());
    fs::write(dir.path().join("kg/triples.tsv"), remaining_lines.join("\n") + "\n").unwrap();
    mix("--pairs en-zh --out filtered.jsonl");
    assert_eq!(read("fewer.jsonl"), read("filtered.jsonl"));
}
