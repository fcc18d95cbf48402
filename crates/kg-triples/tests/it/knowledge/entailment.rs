use std::collections::BTreeMap;

use kg_triples::knowledge::{
    Descriptions, EntailmentConfig, EntailmentExample, EntailmentExamples, EntailmentReport,
};
use kg_triples::{Error, KnowledgeGraph};

use super::{decode, describe, label_texts, tokenizer};
use crate::common::{changed_line_error, countries, expect_round_trip, graph};

/// The examples of `graph` with the default options, which hold out no triples.
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
    let data = dataset(&graph, &label_texts(&graph));
    let mut relation_indices: Vec<(u32, String)> = collect(data.iter(0))
        .into_iter()
        .map(|example| (example.relation, example.relation_id))
        .collect();
    relation_indices.sort_unstable();
    relation_indices.dedup();
    assert_eq!(relation_indices, [(0, "P36".to_owned()), (1, "P37".to_owned())]);
    assert_eq!(data.report().relations, 2);
}

#[test]
fn all_pairs_of_different_languages_are_drawn() {
    let graph = graph(&[["A", "P1", "B"]], &[]);
    // In the first case, the object has only an English description. The languages must differ, so
    // only the pair (de, en) is possible.
    for (subject, object, pairs) in [
        (&["en", "de"][..], &["en"][..], &[("de", "en")][..]),
        (&["en"], &["de"], &[("en", "de")]),
        (&["en", "de"], &["de", "en"], &[("de", "en"), ("en", "de")]),
        (&["en", "zh"], &["de", "en"], &[("en", "de"), ("zh", "de"), ("zh", "en")]),
    ] {
        let descriptions = describe(&[("A", subject), ("B", object)]);
        let data = dataset(&graph, &descriptions);
        let mut drawn = BTreeMap::new();
        for seed in 0..900 {
            let [example] = <[_; 1]>::try_from(collect(data.iter(seed))).unwrap();
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
    let descriptions = describe(&[("A", &["en"]), ("B", &["en"]), ("C", &["de"])]);
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
    let examples = collect(data.iter(0));
    let facts: Vec<_> =
        examples.iter().map(|e| (e.fact, e.relation, e.relation_id.as_str())).collect();
    assert_eq!(facts, [(1, 1, "P2"), (3, 0, "P1")]);
    assert!(examples.iter().all(|example| (example.relation as usize) < data.report().relations));
    // Without `multilingual`, both descriptions must be in one language. Only A and B have a common
    // language, English.
    let config = EntailmentConfig { multilingual: false, ..EntailmentConfig::default() };
    let monolingual = dataset_with(&graph, &descriptions, config);
    assert_eq!(
        monolingual.report(),
        EntailmentReport { without_language: 0, train: 3, ..expected }
    );
    let monolingual_examples = collect(monolingual.iter(0));
    assert_eq!(monolingual_examples.len(), 1);
    assert_eq!(
        (monolingual_examples[0].subject.as_str(), monolingual_examples[0].object.as_str()),
        ("A", "B")
    );
    assert_eq!(monolingual_examples[0].subject_language, monolingual_examples[0].object_language);
    assert_eq!(monolingual.draw(1, 0).unwrap().fact, monolingual_examples[0].fact);

    let data = dataset(&graph, &describe(&[]));
    assert_eq!(data.report().train, 0);
    assert!(data.draw(0, 0).is_err() && data.iter(0).count() == 0);
}

#[test]
fn examples_depend_only_on_seed_and_index() {
    let graph = countries();
    let data = dataset(&graph, &label_texts(&graph));
    let draw_examples = |seed| {
        let example = |index| data.draw(seed, index).unwrap();
        let reversed: Vec<_> = (0..300).rev().map(example).collect();
        let drawn: Vec<_> = (0..300).map(example).collect();
        assert!(drawn.iter().eq(reversed.iter().rev()));
        (drawn, collect(data.iter(seed)))
    };
    let (drawn, examples) = draw_examples(1);
    assert_eq!((drawn.clone(), examples.clone()), draw_examples(1));
    let other_seed = draw_examples(2);
    assert!(drawn != other_seed.0 && examples != other_seed.1);
    assert_eq!(examples.iter().map(|example| example.fact).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    // There are six facts and six ordered pairs of the three languages. Every combination is drawn.
    let mut combinations: Vec<_> =
        drawn.iter().map(|e| (e.fact, e.subject_language, e.object_language)).collect();
    combinations.sort_unstable();
    combinations.dedup();
    assert_eq!(combinations.len(), 36);
}

#[test]
fn examples_are_read_back_and_invalid_ones_reported() {
    let graph = countries();
    let examples = collect(dataset(&graph, &label_texts(&graph)).iter(3));
    expect_round_trip(&examples);
    let error = changed_line_error(&examples[0], "object_ids", serde_json::json!([]));
    assert!(error.contains("r.jsonl:3: expected one entailment example"), "{error}");
}
