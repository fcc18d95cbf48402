//! Tests that samples are uniform and reproducible, and depend neither on the order of files nor on
//! the text of labels.

use std::collections::{BTreeMap, BTreeSet};

use crate::common::{countries, graph, grid};
use kg_triples::{Error, GraphBuilder, KnowledgeGraph, LabelKind, SampleConfig, sample};

fn config(languages: &[&str], count: usize, seed: u64) -> SampleConfig {
    let languages = languages.iter().map(|language| language.to_string()).collect();
    SampleConfig { languages, count, seed, ..SampleConfig::default() }
}

fn facts(graph: &KnowledgeGraph) -> BTreeSet<[String; 3]> {
    graph.triples().map(|t| [t.head, t.relation, t.tail].map(str::to_owned)).collect()
}

#[test]
fn a_sample_has_the_requested_size_and_is_reproducible() {
    let graph = grid(30, 10);
    let (first, report) = sample(&graph, &config(&["en", "de"], 50, 1)).unwrap();
    assert_eq!((first.len(), report.sampled, report.available, report.read), (50, 50, 300, 300));
    assert!(facts(&first).is_subset(&facts(&graph)));
    assert_eq!(sample(&graph, &config(&["en", "de"], 50, 1)).unwrap().0, first);
    assert_ne!(facts(&sample(&graph, &config(&["en", "de"], 50, 2)).unwrap().0), facts(&first));
}

#[test]
fn samples_do_not_depend_on_languages_and_label_texts() {
    let graph = grid(30, 10);
    let english_german = facts(&sample(&graph, &config(&["en", "de"], 50, 1)).unwrap().0);
    let english = sample(&graph, &config(&["en"], 50, 1)).unwrap().0;
    assert_eq!(facts(&english), english_german);
    assert_eq!(english.languages(), ["en"]);

    let mut altered = GraphBuilder::default();
    for triple in graph.triples() {
        altered.add_triple(triple.head, triple.relation, triple.tail).unwrap();
    }
    for id in graph.entities() {
        altered.add_label(id, "en", &format!("another name of {id}"), LabelKind::Entity).unwrap();
    }
    altered.add_label("P1", "en", "r", LabelKind::Relation).unwrap();
    let altered = sample(&altered.build(), &config(&["en"], 50, 1)).unwrap().0;
    assert_eq!(facts(&altered), english_german);
}

#[test]
fn facts_are_sampled_uniformly() {
    let graph = grid(5, 4);
    let mut drawn: BTreeMap<[String; 3], u32> = BTreeMap::new();
    for seed in 0..2_000 {
        for fact in facts(&sample(&graph, &config(&["en"], 5, seed)).unwrap().0) {
            *drawn.entry(fact).or_default() += 1;
        }
    }
    // The count of each fact has a binomial distribution: 2,000 draws with probability 5/20 have
    // the mean 500 and the standard deviation 19.4. The limits are five standard deviations from
    // the mean.
    assert_eq!(drawn.len(), 20);
    assert!(drawn.values().all(|count| (403..=597).contains(count)), "{drawn:?}");
}

#[test]
fn missing_labels_are_counted_by_role() {
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
    assert_eq!((report.read, report.available, report.requested, report.sampled), (9, 6, 100, 6));
}

#[test]
fn empty_samples_and_invalid_options_are_errors() {
    let countries = countries();
    let error = sample(&countries, &config(&["en", "sw"], 7, 1)).unwrap_err();
    assert!(
        error.to_string().contains("\"sw\"") && error.to_string().contains("de, en, zh"),
        "{error}"
    );
    assert!(matches!(sample(&countries, &config(&[], 7, 1)), Err(Error::Config { .. })));
    assert!(matches!(sample(&countries, &config(&["en"], 0, 1)), Err(Error::Config { .. })));
    let triples = [["a", "r", "b"], ["a", "r", "b"], ["a", "r", "a"]];
    let graph = graph(&triples, &[["a", "en", "A"]]);
    let error = sample(&graph, &config(&["en"], 1, 1)).unwrap_err().to_string();
    let counts = "of 2 distinct triples (1 duplicates were removed), 1 have the same head and \
                  tail, 0 lack a label of the head, 1 of the tail, 0 of the relation";
    assert!(error.contains(counts), "{error}");
}
