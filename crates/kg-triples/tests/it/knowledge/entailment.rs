use std::collections::BTreeMap;

use kg_triples::knowledge::{
    Descriptions, EntailmentConfig, EntailmentExample, EntailmentExamples, EntailmentReport,
};
use kg_triples::{Error, KnowledgeGraph};

use super::{decode, described, labels, tokenizer};
use crate::common::{countries, error_with, expect_round_trip, graph};

/// All triples as training triples, with these descriptions.
fn dataset(graph: &KnowledgeGraph, descriptions: &Descriptions) -> EntailmentExamples {
    dataset_with(graph, descriptions, EntailmentConfig::default())
}

fn dataset_with(
    graph: &KnowledgeGraph,
    descriptions: &Descriptions,
    config: EntailmentConfig,
) -> EntailmentExamples {
    let texts = descriptions.encode(tokenizer(), 32).unwrap();
    EntailmentExamples::with_texts(graph.clone(), texts, &config).unwrap()
}

fn collect(
    examples: impl Iterator<Item = Result<EntailmentExample, Error>>,
) -> Vec<EntailmentExample> {
    examples.collect::<Result<_, _>>().unwrap()
}

#[test]
fn relations_have_consecutive_indices() {
    let graph = countries();
    let data = dataset(&graph, &labels(&graph));
    let mut numbers: Vec<(u32, String)> = collect(data.once(0))
        .into_iter()
        .map(|example| (example.relation, example.relation_id))
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers, [(0, "P36".to_owned()), (1, "P37".to_owned())]);
    assert_eq!(data.report().relations, 2);
}

#[test]
fn all_pairs_of_different_languages_are_drawn() {
    let graph = graph(&[["A", "P1", "B"]], &[]);
    // With the subject in en, the object has no other language: only (de, en) is possible.
    for (subject, object, pairs) in [
        (&["en", "de"][..], &["en"][..], &[("de", "en")][..]),
        (&["en"], &["de"], &[("en", "de")]),
        (&["en", "de"], &["de", "en"], &[("de", "en"), ("en", "de")]),
        (&["en", "zh"], &["de", "en"], &[("en", "de"), ("zh", "de"), ("zh", "en")]),
    ] {
        let descriptions = described(&[("A", subject), ("B", object)]);
        let data = dataset(&graph, &descriptions);
        let mut drawn = BTreeMap::new();
        for seed in 0..900 {
            let [example] = <[_; 1]>::try_from(collect(data.once(seed))).unwrap();
            assert_ne!(example.subject_language, example.object_language);
            for (entity, code, ids) in [
                ("A", example.subject_language, &example.subject_ids),
                ("B", example.object_language, &example.object_ids),
            ] {
                assert!(decode(ids).contains(&format!("{entity}inthewordsof{code}")));
                assert!(ids.len() <= 32 && ids[0] == 0 && *ids.last().unwrap() == 2);
            }
            let pair = (example.subject_language.to_string(), example.object_language.to_string());
            *drawn.entry(pair).or_insert(0_usize) += 1;
        }
        let expected: Vec<_> =
            pairs.iter().map(|(u, t)| ((*u).to_owned(), (*t).to_owned())).collect();
        assert_eq!(drawn.keys().cloned().collect::<Vec<_>>(), expected);
        drawn
            .values()
            .for_each(|count| assert!(count.abs_diff(900 / pairs.len()) < 80, "{drawn:?}"));
    }
}

#[test]
fn skipped_triples_are_counted_by_reason() {
    let triples = [
        ["A", "P1", "B"],
        ["A", "P2", "C"],
        ["A", "P3", "X"],
        ["X", "P3", "A"],
        ["C", "P1", "A"],
        ["X", "P9", "Y"],
    ];
    let graph = graph(&triples, &[]);
    let descriptions = described(&[("A", &["en"]), ("B", &["en"]), ("C", &["de"])]);
    let expected = EntailmentReport {
        triples: 6,
        without_subject: 2,
        without_object: 1,
        without_language: 1,
        train: 2,
        relations: 4,
        ..EntailmentReport::default()
    };
    let data = dataset(&graph, &descriptions);
    assert_eq!(data.report(), expected);
    // Fact numbers are positions in the graph, regardless of descriptions.
    let once = collect(data.once(0));
    let facts: Vec<_> = once.iter().map(|e| (e.fact, e.relation, e.relation_id.as_str())).collect();
    assert_eq!(facts, [(1, 1, "P2"), (3, 0, "P1")]);
    assert!(once.iter().all(|example| (example.relation as usize) < data.report().relations));
    // With one language for both descriptions, only A and B remain, in English.
    let config = EntailmentConfig { multilingual: false, ..EntailmentConfig::default() };
    let monolingual = dataset_with(&graph, &descriptions, config);
    assert_eq!(
        monolingual.report(),
        EntailmentReport { without_language: 0, train: 3, ..expected }
    );
    let monolingual_examples = collect(monolingual.once(0));
    assert_eq!(monolingual_examples.len(), 1);
    assert_eq!(
        (monolingual_examples[0].subject.as_str(), monolingual_examples[0].object.as_str()),
        ("A", "B")
    );
    assert_eq!(monolingual_examples[0].subject_language, monolingual_examples[0].object_language);
    assert_eq!(monolingual.drawn(1, 0).unwrap().fact, monolingual_examples[0].fact);

    let data = dataset(&graph, &described(&[]));
    assert_eq!(data.report().train, 0);
    assert!(data.drawn(0, 0).is_err() && data.once(0).count() == 0);
}

#[test]
fn examples_depend_only_on_seed_and_index() {
    let graph = countries();
    let data = dataset(&graph, &labels(&graph));
    let draw_examples = |seed| {
        let example = |index| data.drawn(seed, index).unwrap();
        let reversed: Vec<_> = (0..300).rev().map(example).collect();
        let drawn: Vec<_> = (0..300).map(example).collect();
        assert!(drawn.iter().eq(reversed.iter().rev()));
        (drawn, collect(data.once(seed)))
    };
    let (drawn, once) = draw_examples(1);
    assert_eq!((drawn.clone(), once.clone()), draw_examples(1));
    let other = draw_examples(2);
    assert!(drawn != other.0 && once != other.1);
    assert_eq!(once.iter().map(|example| example.fact).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    // Six facts and six pairs of three languages: every combination is drawn.
    let mut kinds: Vec<_> =
        drawn.iter().map(|e| (e.fact, e.subject_language, e.object_language)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 36);
}

#[test]
fn examples_are_read_back_and_invalid_ones_reported() {
    let graph = countries();
    let examples = collect(dataset(&graph, &labels(&graph)).once(3));
    expect_round_trip(&examples);
    let error = error_with(&examples[0], "object_ids", serde_json::json!([]));
    assert!(error.contains("r.jsonl:3: expected one entailment example"), "{error}");
}
