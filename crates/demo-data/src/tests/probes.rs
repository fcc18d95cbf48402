//! Tests of clozes and inference pairs generated from facts.
use std::collections::{BTreeMap, BTreeSet};

use crate::probes::cloze::build_clozes;
use crate::probes::inference::{PREMISE_FACTS, create_pairs};
use crate::questions::template::TemplateSet;
use crate::split::EntitySplit;
use kg_triples::{KnowledgeGraph, Language};

use super::common::{data_path, heads};

fn demo_inputs() -> (KnowledgeGraph, TemplateSet, Vec<Language>) {
    let graph = KnowledgeGraph::read_dir(data_path("demo/kg")).unwrap();
    let templates = TemplateSet::read(data_path("demo/templates-all.tsv")).unwrap();
    let languages = ["en", "de", "zh"].map(|code| Language::new(code).unwrap()).to_vec();
    (graph, templates, languages)
}

/// Returns the cells of each row of a TSV table.
fn cells_by_row(rows: &str) -> Vec<Vec<String>> {
    rows.lines().map(|row| row.split('\t').map(str::to_owned).collect()).collect()
}

#[test]
fn every_language_has_clozes_about_the_same_facts() {
    let (graph, templates, languages) = demo_inputs();
    let (files, report) = build_clozes(&graph, &templates, &heads(&graph), &languages).unwrap();
    let files: BTreeMap<String, String> = files.into_iter().collect();
    assert_eq!(report.facts + report.without_sentence, graph.len());
    let mut facts: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for code in ["en", "de", "zh"] {
        for line in files[&format!("{code}/templates.jsonl")].lines() {
            let relation: serde_json::Value = serde_json::from_str(line).unwrap();
            let template = relation["template"].as_str().unwrap();
            assert!(template.contains("[X]") && template.contains("[Y]"), "{template}");
            let name = relation["relation"].as_str().unwrap();
            for line in files[&format!("{code}/{name}.jsonl")].lines() {
                let fact: serde_json::Value = serde_json::from_str(line).unwrap();
                let (head, tail) =
                    (fact["sub_uri"].as_str().unwrap(), fact["obj_uri"].as_str().unwrap());
                assert_eq!(fact["sub_label"].as_str(), graph.label(head, code));
                assert_eq!(fact["obj_label"].as_str(), graph.label(tail, code));
                facts.entry(code).or_default().insert(format!("{head}-{name}-{tail}"));
            }
        }
    }
    assert_eq!(facts["en"].len(), report.facts);
    assert!(facts["en"] == facts["de"] && facts["de"] == facts["zh"]);
}

#[test]
fn labels_follow_from_the_premise() {
    let (graph, templates, languages) = demo_inputs();
    let split = EntitySplit::default().split_heads(&graph).unwrap();
    let test = ("test", &split.test);
    let pairs = create_pairs(&graph, &templates, test, &languages, 3).unwrap();
    assert_eq!(pairs.rows.len(), 3);
    let rows_by_language: Vec<_> = pairs.rows.iter().map(|(_, rows)| cells_by_row(rows)).collect();
    for rows in &rows_by_language {
        assert_eq!(rows.len(), pairs.report.pairs);
    }
    let facts: BTreeSet<String> = graph
        .triples()
        .filter_map(|triple| {
            let label = |id: &str| graph.label(id, "en").map(str::to_owned);
            Some(format!("{} {} {}", label(triple.head)?, triple.relation, label(triple.tail)?))
        })
        .collect();
    assert!(!facts.is_empty());
    for row in &rows_by_language[0] {
        let [language, label, premise, hypothesis] = row.as_slice() else { panic!("{row:?}") };
        assert_eq!(language, "en");
        let sentences: Vec<String> =
            premise.split_inclusive(" .").map(|text| text.trim().to_owned()).collect();
        assert_eq!(sentences.len(), PREMISE_FACTS, "{premise}");
        // In "The continent of X is Y .", the words before "is" contain the relation and the head.
        let subject = |text: &str| text.split(" is ").next().unwrap().to_owned();
        let same_subject = sentences.iter().any(|text| subject(text) == subject(hypothesis));
        let is_stated = sentences.iter().any(|text| text == hypothesis);
        match label.as_str() {
            "entailment" => assert!(is_stated),
            "contradiction" => assert!(same_subject && !is_stated),
            "neutral" => assert!(!same_subject),
            other => panic!("{other}"),
        }
    }
    let labels = |rows: &[Vec<String>]| rows.iter().map(|row| row[1].clone()).collect::<Vec<_>>();
    assert_eq!(labels(&rows_by_language[0]), labels(&rows_by_language[2]));
}
