//! Samples: uniform, reproducible, independent of order and labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{countries, grid};
use kg_triples::{
    Error, GraphBuilder, KnowledgeGraph, LabelKind, MissingRelation, SampleConfig, SampleReport,
    sample,
};

fn config(languages: &[&str], count: usize, seed: u64) -> SampleConfig {
    let languages = languages.iter().map(|language| language.to_string()).collect();
    SampleConfig { languages, count, seed, ..SampleConfig::default() }
}

fn facts(graph: &KnowledgeGraph) -> BTreeSet<[String; 3]> {
    graph.triples().map(|t| [t.head, t.relation, t.tail].map(str::to_owned)).collect()
}

#[test]
fn takes_the_count_asked_for_and_repeats_itself() {
    let graph = grid(30, 10);
    let (first, report) = sample(&graph, &config(&["en", "de"], 50, 1)).unwrap();
    assert_eq!((first.len(), report.kept, report.available, report.read), (50, 50, 300, 300));
    assert!(facts(&first).is_subset(&facts(&graph)));
    assert_eq!(sample(&graph, &config(&["en", "de"], 50, 1)).unwrap().0, first);
    assert_ne!(facts(&sample(&graph, &config(&["en", "de"], 50, 2)).unwrap().0), facts(&first));
}

#[test]
fn the_same_facts_for_every_language_and_any_label_text() {
    let graph = grid(30, 10);
    let both = facts(&sample(&graph, &config(&["en", "de"], 50, 1)).unwrap().0);
    let english = sample(&graph, &config(&["en"], 50, 1)).unwrap().0;
    assert_eq!(facts(&english), both);
    assert_eq!(english.languages(), ["en"]);

    let mut renamed = GraphBuilder::default();
    for triple in graph.triples() {
        renamed.add_triple(triple.head, triple.relation, triple.tail).unwrap();
    }
    for id in graph.entities() {
        renamed.add_label(id, "en", &format!("another name of {id}"), LabelKind::Entity).unwrap();
    }
    renamed.add_label("P1", "en", "r", LabelKind::Relation).unwrap();
    let renamed = sample(&renamed.build(), &config(&["en"], 50, 1)).unwrap().0;
    assert_eq!(facts(&renamed), both);
}

#[test]
fn a_smaller_sample_is_part_of_a_larger_one() {
    let graph = grid(30, 10);
    let small = facts(&sample(&graph, &config(&["en"], 20, 7)).unwrap().0);
    let large = facts(&sample(&graph, &config(&["en"], 60, 7)).unwrap().0);
    assert!(small.is_subset(&large));
}

#[test]
fn every_fact_has_the_same_chance() {
    let graph = grid(5, 4);
    let mut drawn: BTreeMap<[String; 3], u32> = BTreeMap::new();
    for seed in 0..2_000 {
        for fact in facts(&sample(&graph, &config(&["en"], 5, seed)).unwrap().0) {
            *drawn.entry(fact).or_default() += 1;
        }
    }
    // Each count is binomial: 2000 draws at 5/20, so 500 with standard deviation 19.4; five of
    // these on either side.
    assert_eq!(drawn.len(), 20);
    assert!(drawn.values().all(|count| (403..=597).contains(count)), "{drawn:?}");
}

#[test]
fn missing_labels_are_counted_by_place() {
    let mut builder = GraphBuilder::from(countries());
    for triple in [["X", "P36", "Q64"], ["Q183", "P36", "Y"], ["Q183", "P99", "Q64"]] {
        builder.add_triple(triple[0], triple[1], triple[2]).unwrap();
    }
    let graph = builder.build();
    let (sampled, report) = sample(&graph, &config(&["en", "zh"], 100, 1)).unwrap();
    assert_eq!(facts(&sampled), facts(&countries()));
    assert_eq!(
        (report.without_head_label, report.without_tail_label, report.without_relation_label),
        (1, 1, 1)
    );
    assert_eq!((report.read, report.available, report.requested, report.kept), (9, 6, 100, 6));
}

#[test]
fn relations_can_fall_back_to_english() {
    let mut builder = GraphBuilder::from(countries());
    builder.add_triple("Q183", "P99", "Q64").unwrap();
    builder.add_label("P99", "en", "seat", LabelKind::Relation).unwrap();
    let graph = builder.build();
    let mut config = config(&["de", "zh"], 100, 1);
    assert_eq!(sample(&graph, &config).unwrap().0.len(), 6);
    config.missing_relation = MissingRelation::English;
    let (sampled, report) = sample(&graph, &config).unwrap();
    assert_eq!((sampled.len(), report.english_relation_labels), (7, 2));
    assert_eq!(sampled.label("P99", "zh"), Some("seat"));
    assert_eq!(sampled.label("P36", "zh"), Some("首都"));
    assert_eq!(sampled.languages(), ["de", "zh"]);
}

#[test]
fn too_few_or_none_or_nonsense_is_an_error() {
    let graph = countries();
    let strict = SampleConfig { strict: true, ..config(&["en"], 7, 1) };
    assert!(matches!(sample(&graph, &strict), Err(Error::TooFew { requested: 7, available: 6 })));
    let error = sample(&graph, &config(&["en", "sw"], 7, 1)).unwrap_err();
    assert!(
        error.to_string().contains("\"sw\"") && error.to_string().contains("de, en, zh"),
        "{error}"
    );
    assert!(matches!(sample(&graph, &config(&[], 7, 1)), Err(Error::Config { .. })));
    assert!(matches!(sample(&graph, &config(&["en"], 0, 1)), Err(Error::Config { .. })));
    let mut builder = GraphBuilder::default();
    builder.add_triple("a", "r", "b").unwrap();
    builder.add_label("a", "en", "A", LabelKind::Entity).unwrap();
    assert!(matches!(sample(&builder.build(), &config(&["en"], 1, 1)), Err(Error::Empty { .. })));
}

/// Relation `P{k}` has `k * k` triples; heads `H…` are of type `T0` or `T1` by turns.
fn uneven() -> KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    let label = |builder: &mut GraphBuilder, id: &str, kind| {
        builder.add_label(id, "en", id, kind).unwrap();
    };
    for relation in 1..=6 {
        for at in 0..relation * relation {
            let (head, tail) = (format!("H{at}"), format!("T{relation}-{at}"));
            builder.add_triple(&head, &format!("P{relation}"), &tail).unwrap();
            label(&mut builder, &head, LabelKind::Entity);
            label(&mut builder, &tail, LabelKind::Entity);
        }
        label(&mut builder, &format!("P{relation}"), LabelKind::Relation);
    }
    for at in 0..36 {
        builder.add_triple(&format!("H{at}"), "P31", &format!("T{}", at % 2)).unwrap();
    }
    builder.add_triple("H1", "P6", "H1").unwrap();
    builder.build()
}

fn by_relation(graph: &KnowledgeGraph) -> BTreeMap<String, usize> {
    graph.triples().fold(BTreeMap::new(), |mut counts, triple| {
        *counts.entry(triple.relation.to_owned()).or_default() += 1;
        counts
    })
}

#[test]
fn a_stratified_sample_takes_relations_evenly() {
    let graph = uneven();
    let stratified = |count| SampleConfig { stratified: true, ..config(&["en"], count, 3) };
    let (sampled, report) = sample(&graph, &stratified(50)).unwrap();
    // 1 and 4 are all there is, (50 - 5) / 4 is 11: 9, then 12 each.
    let counts: Vec<usize> = by_relation(&sampled).into_values().collect();
    assert_eq!((counts, report.kept), (vec![1, 4, 9, 12, 12, 12], 50));
    assert_eq!(report.self_loops, 1);
    assert_eq!(sample(&graph, &stratified(50)).unwrap().0, sampled);
    // What a relation gives is what it gives first in a plain sample of it alone.
    let alone = SampleConfig { relations: vec!["P6".into()], ..config(&["en"], 12, 3) };
    let alone = facts(&sample(&graph, &alone).unwrap().0);
    assert!(alone.is_subset(&facts(&sampled)));
    let (all, _) = sample(&graph, &stratified(1000)).unwrap();
    assert_eq!(all.len(), 91);
}

#[test]
fn relations_types_and_short_labels_filter() {
    let graph = uneven();
    let some = SampleConfig {
        relations: vec!["P5".into(), "P6".into(), "P99".into()],
        types: vec!["T1".into()],
        min_label_chars: 3,
        ..config(&["en"], 1000, 1)
    };
    let (sampled, report) = sample(&graph, &some).unwrap();
    let heads: BTreeSet<String> = facts(&sampled).into_iter().map(|[head, ..]| head).collect();
    // Odd heads of two digits: 11 to 23 for P5, 11 to 35 for P6.
    let odd = |last: usize| (11..=last).step_by(2).map(|at| format!("H{at}"));
    assert_eq!(heads, odd(35).collect());
    assert_eq!(by_relation(&sampled), BTreeMap::from([("P5".into(), 7), ("P6".into(), 13)]));
    let SampleReport { read, self_loops, filtered, short_labels, available, .. } = report;
    assert_eq!(read, self_loops + filtered + short_labels + available);
    assert_eq!((self_loops, short_labels, available), (1, 10, 20));
    let none = SampleConfig { types: vec!["T7".into()], ..config(&["en"], 10, 1) };
    let error = sample(&graph, &none).unwrap_err().to_string();
    assert!(error.contains("are filtered out"), "{error}");
}
