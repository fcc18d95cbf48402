//! Tests of the subcommand `pairs`: sources, output files and errors.
use std::collections::BTreeSet;
use std::process::Command;

use kg_triples::knowledge::{PairKind, TextPair};
use serde_json::Value;
use shards::Manifest;
use tempfile::TempDir;

use crate::common::{
    countries, countries_folder, expect_errors, failure, has_row, read, run, stdout, write,
};

/// The graph of three countries, and pages with labels and descriptions of some entities.
fn input_folder() -> TempDir {
    let dir = countries_folder();
    let pages = dir.path().join("pages");
    std::fs::create_dir(&pages).unwrap();
    write(
        &pages,
        "entities.en.jsonl",
        "{\"id\":\"Q64\",\"label\":\"another name\",\"extract\":\"Berlin is in Germany. It is old.\"}\n\
         {\"id\":\"Q1\",\"label\":\"universe\",\"extract\":\"All of space.\"}\n\
         {\"id\":\"Q2\",\"label\":\" \",\"extract\":\"No label: Paris, France, French.\"}\n",
    );
    write(
        &pages,
        "entities.de.jsonl",
        "{\"id\":\"Q1\",\"label\":null,\"description\":\"alles\"}\n",
    );
    dir
}

#[test]
fn pairs_of_all_kinds_come_from_a_graph_and_pages() {
    let dir = input_folder();
    let command = "pairs --kg kg --entities pages --kinds ts,es,tp,ep,ep --out p.jsonl";
    let table = stdout(&run(dir.path(), command));
    // The columns are: kind, sources, without a label, without a triple, object only, train, held
    // out, without a relation, written.
    assert!(has_row(&table, "ep 12 0 0 0 12 0 0 12"), "{table}");
    assert!(has_row(&table, "tp 6 0 0 0 6 0 0 6"), "{table}");
    // Q2 has no label; Q1 has the label of its page, in English only.
    assert!(has_row(&table, "es 3 1 0 0 2 0 0 2"), "{table}");
    // One of the four sentences mentions Germany and Berlin (one object); another mentions France,
    // Paris and French (two objects).
    assert!(has_row(&table, "ts 5 0 2 0 3 0 0 3"), "{table}");
    let pairs: Vec<TextPair> = read(dir.path().join("p.jsonl"));
    let of_kind = |kind| pairs.iter().filter(move |pair| pair.kind == kind);
    let queries: Vec<_> = of_kind(PairKind::Ts).map(|pair| (&*pair.entity, &*pair.query)).collect();
    assert_eq!(
        queries,
        [
            ("Q64", "is in Germany."),
            ("Q150", "No label: Paris, France, ."),
            ("Q90", "No label: , France, French."),
        ]
    );
    let keys: Vec<_> = of_kind(PairKind::Es).map(|pair| (&*pair.entity, &*pair.key)).collect();
    assert_eq!(keys[0], ("Q1", "universe"));
    // Labels of the graph are not replaced.
    assert!(["Berlin", "伯林"].contains(&keys[1].1), "{keys:?}");

    // The pages have no text in the languages of --languages.
    let command = "pairs --kg kg --entities pages --kinds ts --languages zh,de --out q.jsonl";
    let error = failure(&run(dir.path(), command));
    assert!(error.contains("ts pairs of 0 sources: no data"), "{error}");

    // With --texts, sentences of the pages are not used.
    let text = r#"{"id":"1","lang":"en","text":"Ours.","mentions":[{"start":0,"end":1,"entity":"Q183"},{"start":2,"end":3,"entity":"Q64"}]}"#;
    write(dir.path(), "t.jsonl", text);
    let command =
        "pairs --kg kg --texts t.jsonl --kinds ts --count 7 --languages en --out t/t.jsonl";
    assert!(has_row(&stdout(&run(dir.path(), command)), "ts 1 0 0 0 1 0 0 7"));
    let pairs: Vec<TextPair> = read(dir.path().join("t/t.jsonl"));
    assert!(pairs.iter().all(|pair| pair.query == "Ous." && pair.key == "Berlin"));
}

#[test]
fn held_out_data_is_separate_for_any_number_of_threads() {
    let dir = input_folder();
    let files = |threads: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kg-triples"));
        let arguments = "pairs --kg kg --hold-out 0.4 --seed 5 --count 400 --out";
        command.current_dir(dir.path()).args(arguments.split_whitespace());
        command.arg(threads).env("RAYON_NUM_THREADS", threads);
        stdout(&command.output().unwrap());
        Manifest::read(dir.path().join(threads)).unwrap().unwrap()
    };
    let [one, four] = ["1", "4"].map(files);
    assert_eq!(one.files, four.files);
    assert_eq!(one.counts["train"], serde_json::json!({ "ep": 400, "tp": 400 }));
    let count = |key: &str| one.counts["pairs"]["ep"].get(key).and_then(Value::as_u64).unwrap();
    assert_eq!(count("train") + count("held_out"), 12);
    let entities = |name: &str| -> BTreeSet<String> {
        read(dir.path().join("1").join(name)).into_iter().map(|p: TextPair| p.entity).collect()
    };
    let [train, held_out] = ["train/pairs.jsonl.gz", "probe/held-out.jsonl.gz"].map(entities);
    assert!(train.is_disjoint(&held_out));
    assert_eq!(train.len() + held_out.len(), 9);
}

#[test]
fn bad_input_is_reported_and_writes_no_file() {
    let dir = input_folder();
    for (name, line) in [("blank", "Q64\ten\t\tentity"), ("short", "Q64\ten")] {
        countries().write_dir(dir.path().join(name)).unwrap();
        write(&dir.path().join(name), "labels.tsv", format!("id\tlang\tlabel\tkind\n{line}\n"));
    }
    for (name, line) in [
        ("tab", "{\"id\":\"Q5\",\"label\":\"a\\tb\"}"),
        ("twice", "{\"id\":\"Q5\",\"label\":\"a\"}\n{\"id\":\"Q5\",\"label\":\"b\"}"),
        ("nameless", "{\"id\":\"\"}"),
    ] {
        std::fs::create_dir(dir.path().join(name)).unwrap();
        write(&dir.path().join(name), "entities.en.jsonl", line);
    }
    write(
        dir.path(),
        "bad.jsonl",
        "{\"id\":\"1\",\"lang\":\"en\",\"text\":\"a\",\"mentions\":[{\"start\":0,\"end\":2,\"entity\":\"Q64\"}]}",
    );
    let cases = [
        ("--kg none", "none: cannot read the folder"),
        ("--kg blank", "labels.tsv:2: label: expected some text"),
        ("--kg short", "labels.tsv:2: columns"),
        ("--kg kg --kinds ep,xx", "unknown variant `xx`"),
        ("--kg kg --kinds es", "kinds = es: must be another kind without --entities"),
        ("--kg kg --kinds es --texts bad.jsonl", "kinds = es"),
        ("--kg kg --kinds ts", "kinds = ts: must be another kind without --texts"),
        ("--kg kg --kinds ts --texts bad.jsonl", "bad.jsonl:1: expected one linked text"),
        ("--kg kg --entities tab", "entities.en.jsonl:1"),
        ("--kg kg --entities twice", "entities.en.jsonl:2"),
        ("--kg kg --entities nameless", "entities.en.jsonl:1"),
        ("--kg kg --entities kg", "files entities.<lang>.jsonl"),
        ("--kg kg --languages en,fr", "language \"fr\" has no label"),
        ("--kg kg --languages en,en", "languages = en,en"),
        ("--kg kg --languages en", "ep pairs of 12 sources: no data; 12 sources have no label"),
        ("--kg kg --count 0", "count = 0"),
        ("--kg kg --hold-out 1", "hold_out = 1: must be from 0 to below 1"),
        ("--kg kg --hold-out 0.2", "must be a folder if data is held out"),
        ("--kg kg --remove-object half", "unknown variant `half`"),
    ];
    expect_errors(dir.path(), "pairs", &cases);
    let error = failure(&run(dir.path(), "pairs --kg kg --hold-out 0.0001 --out out"));
    assert!(error.contains("12 are for training and 0 are held out"), "{error}");
    assert!(!dir.path().join("out").exists());
}
