//! Tests of sentences with relations.
use std::collections::{BTreeMap, BTreeSet};

use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write;
use std::path::Path;

use kg_triples::Language;

use crate::relations::{RelationConfig, Row};

fn write_inputs(folder: &Path) {
    std::fs::create_dir_all(folder.join("kg")).unwrap();
    let mut triples = String::from("head_id\trelation_id\ttail_id\n");
    triples += "Q1\tP36\tQ2\nQ3\tP36\tQ4\nQ1\tP47\tQ3\nQ1\tP530\tQ3\n";
    let mut labels = String::from("id\tlang\tlabel\n");
    for (id, en, zh) in [
        ("Q1", "Arland", "甲国"),
        ("Q2", "Arport", "乙城"),
        ("Q3", "Bosland", "丙国"),
        ("Q4", "Bos Town", "丁城"),
    ] {
        labels += &format!("{id}\ten\t{en}\n{id}\tzh\t{zh}\n");
    }
    std::fs::write(folder.join("kg/triples.tsv"), triples).unwrap();
    std::fs::write(folder.join("kg/labels.tsv"), labels).unwrap();
    let pages = [
        (
            "en",
            "Bos Town is the capital of Bosland. Arland borders Bosland. Arport is near Bos Town.",
        ),
        ("zh", "丁城是丙国的首都。甲国的首都是乙城。"),
    ];
    for (language, extract) in pages {
        let file = folder.join(format!("entities.{language}.jsonl.gz"));
        let mut encoder = GzEncoder::new(std::fs::File::create(file).unwrap(), Compression::fast());
        writeln!(encoder, "{{\"id\": \"Q9\", \"extract\": \"{extract}\"}}").unwrap();
        encoder.finish().unwrap();
    }
}

fn config(folder: &Path) -> RelationConfig {
    RelationConfig {
        kg: folder.join("kg"),
        extracts: folder.to_path_buf(),
        languages: [Language::EN, Language::new("zh").unwrap()].to_vec(),
        shares: [1.0, 0.0, 0.0],
        negatives: 10.0,
        min_examples: 1,
        seed: 7,
    }
}

/// Returns subject, object and relation of a row.
fn described(row: &Row) -> String {
    let words = |start: usize, end: usize| row.token[start..=end].concat();
    let (subject, object) =
        (words(row.subj_start, row.subj_end), words(row.obj_start, row.obj_end));
    format!("{subject} {} {object}", row.relation)
}

#[test]
fn relations_are_those_of_the_only_fact() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path());
    // With the shares 1, 0, 0, the other splits have no rows, which is an error.
    let error = config(folder.path()).rows().unwrap_err().to_string();
    assert!(error.contains("split dev"), "{error}");
    let graph = kg_triples::KnowledgeGraph::read_dir(folder.path().join("kg")).unwrap();
    let described_rows = |code: &str| -> BTreeSet<String> {
        let language = Language::new(code).unwrap();
        let rows = config(folder.path()).language_rows(&graph, language).unwrap();
        rows.iter().map(described).collect()
    };
    // Pairs with two facts (Arland and Bosland) have no row, nor has the direction without a fact.
    let expected =
        ["Bosland P36 BosTown", "Arport no_relation BosTown", "BosTown no_relation Arport"];
    assert_eq!(described_rows("en"), expected.map(str::to_owned).into());
    let expected = ["丙国 P36 丁城", "甲国 P36 乙城"];
    assert_eq!(described_rows("zh"), expected.map(str::to_owned).into());
}

#[test]
fn pairs_of_entities_are_in_one_split() {
    let folder = |name: &str| super::common::data_path(name);
    let config = RelationConfig {
        kg: folder("wikidata-facts"),
        extracts: folder("codex"),
        languages: ["en", "es", "zh"].map(|code| Language::new(code).unwrap()).to_vec(),
        shares: [0.6, 0.15, 0.25],
        negatives: 2.0,
        min_examples: 20,
        seed: 1234,
    };
    let rows = config.rows().unwrap();
    let mut pairs: BTreeMap<&str, BTreeSet<&[String; 2]>> = BTreeMap::new();
    for ((language, split), rows) in &rows {
        let positives = rows.iter().filter(|row| row.relation != "no_relation").count();
        assert_eq!(rows.len(), 3 * positives, "{language} {split}");
        pairs.entry(split).or_default().extend(rows.iter().map(|row| &row.entities));
    }
    assert!(pairs["train"].is_disjoint(&pairs["test"]) && pairs["dev"].is_disjoint(&pairs["test"]));
    assert!(pairs["train"].is_disjoint(&pairs["dev"]));
    assert_eq!(rows, config.rows().unwrap());
    let relations: BTreeSet<&str> =
        rows[&(Language::EN, "train")].iter().map(|row| row.relation.as_str()).collect();
    for rows in rows.values() {
        assert!(rows.iter().all(|row| relations.contains(row.relation.as_str())));
    }
}

#[test]
fn invalid_options_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    write_inputs(folder.path());
    let valid = config(folder.path());
    for (config, piece) in [
        (RelationConfig { shares: [0.5, 0.5, 0.5], ..valid.clone() }, "--split"),
        (RelationConfig { negatives: -1.0, ..valid.clone() }, "--negatives -1"),
        (RelationConfig { min_examples: 99, ..valid.clone() }, "--min-examples 99"),
        (RelationConfig { extracts: folder.path().join("none"), ..valid.clone() }, "none"),
        (RelationConfig { languages: vec![Language::EN, Language::EN], ..valid.clone() }, "en"),
        (RelationConfig { languages: vec![Language::new("fr").unwrap()], ..valid }, "entities.fr"),
    ] {
        let error = format!("{:#}", config.rows().unwrap_err());
        assert!(error.contains(piece), "{piece}: {error}");
    }
}
