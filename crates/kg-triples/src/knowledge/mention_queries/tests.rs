//! Tests that held-out data is not in the training set.
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::MentionQueries;
use crate::knowledge::{HeldOut, MentionExample, Split, TokenSpan};
use crate::{Error, Language};

const LANGUAGES: [&str; 4] = ["de", "en", "sw", "zh"];

/// A passage of text `T{text}` that mentions `Q{entity}`. The passage is in the language with index
/// `language`, and the description is in the language with index `language + offset`.
fn example(
    passage: usize,
    text: usize,
    entity: usize,
    language: usize,
    offset: usize,
) -> MentionExample {
    MentionExample {
        passage: passage as u64,
        id: format!("T{text}"),
        language: Language::new(LANGUAGES[language % 4]).unwrap(),
        input_ids: vec![0, 10 + passage as u32, 2],
        mention: TokenSpan { start: 1, end: 2 },
        entity: format!("Q{entity}"),
        description_language: Language::new(LANGUAGES[(language + offset) % 4]).unwrap(),
        description_ids: vec![0, 10 + entity as u32, 2],
    }
}

/// Up to 300 examples from 40 texts about 15 entities. The description of each example is in
/// another language than its passage.
fn examples() -> impl Strategy<Value = Vec<MentionExample>> {
    let fields = (0usize..40, 0usize..15, 0usize..4, 1usize..4);
    prop::collection::vec(fields, 1..300).prop_map(|examples| {
        let numbered_fields = examples.into_iter().enumerate();
        // Two consecutive examples share a passage number.
        numbered_fields
            .map(|(at, (text, entity, language, offset))| {
                example(at / 2, text, entity, language, offset)
            })
            .collect()
    })
}

fn held_out() -> impl Strategy<Value = HeldOut> {
    (0.05f64..0.6, 0.0f64..0.6, 0.0f64..0.6, 1usize..40, prop::option::of(1usize..5), any::<u64>())
        .prop_map(|(texts, pairs, entities, queries, per_entity, seed)| HeldOut {
            texts,
            pairs,
            entities,
            queries,
            per_entity,
            seed,
        })
}

/// Training examples, and queries about unseen texts, unseen language pairs and unseen entities.
#[derive(Debug, PartialEq)]
struct Splits {
    train: Vec<MentionExample>,
    queries: [Vec<MentionExample>; 3],
}

/// Selects the training examples from `trainable` and the queries from `queries`.
fn split_examples(
    held_out: &HeldOut,
    trainable: &[MentionExample],
    queries: &[MentionExample],
) -> Result<Splits, Error> {
    let train = trainable.iter().filter(|example| held_out.split_of(example) == Split::Train);
    let train: Vec<MentionExample> = train.cloned().collect();
    let entities: BTreeSet<&str> = train.iter().map(|example| example.entity.as_str()).collect();
    let queries = collect_queries(held_out, queries, |entity| entities.contains(entity))?;
    Ok(Splits { train, queries })
}

fn collect_queries(
    held_out: &HeldOut,
    queries: &[MentionExample],
    is_trained: impl Fn(&str) -> bool,
) -> Result<[Vec<MentionExample>; 3], Error> {
    let mut query_collection = MentionQueries::new(held_out);
    let mut split_passages = BTreeSet::new();
    for query in queries {
        if split_passages.insert((held_out.split_of(query), query.passage)) {
            query_collection.add(query.clone());
        }
    }
    query_collection.finish(is_trained)
}

type Triple<'e> = (&'e str, &'e str, &'e str);

fn triple(example: &MentionExample) -> Triple<'_> {
    (&example.entity, example.language.as_str(), example.description_language.as_str())
}

/// Asserts that the training examples contain no text, entity or language pair that the probes
/// require to be unseen.
fn assert_no_leak(splits: &Splits) {
    let texts: BTreeSet<&str> = splits.train.iter().map(|example| &*example.id).collect();
    let entities: BTreeSet<&str> = splits.train.iter().map(|example| &*example.entity).collect();
    let triples: BTreeSet<Triple<'_>> = splits.train.iter().map(triple).collect();
    for queries in &splits.queries {
        assert!(queries.iter().all(|query| !texts.contains(&*query.id)), "a text leaks");
    }
    let [unseen_texts, unseen_pairs, unseen_entities] = &splits.queries;
    for query in unseen_pairs {
        assert!(!triples.contains(&triple(query)), "the pair of {query:?} leaks");
    }
    for query in unseen_entities {
        assert!(!entities.contains(&*query.entity), "the entity of {query:?} leaks");
    }
    for query in unseen_texts.iter().chain(unseen_pairs) {
        assert!(entities.contains(&*query.entity), "the entity of {query:?} is not trained");
    }
}

proptest! {
    #[test]
    fn no_held_out_text_pair_or_entity_is_trained(examples in examples(), held_out in held_out()) {
        let monolingual: Vec<MentionExample> = examples
            .iter()
            .cloned()
            .map(|example| MentionExample { description_language: example.language, ..example })
            .collect();
        for trainable in [&examples, &monolingual] {
            match split_examples(&held_out, trainable, &examples) {
                Ok(splits) => assert_no_leak(&splits),
                Err(error) => prop_assert!(matches!(error, Error::Empty { .. }), "{error}"),
            }
        }
    }

    #[test]
    fn examples_with_held_out_parts_are_not_training_examples(
        examples in examples(),
        held_out in held_out(),
    ) {
        let only_texts = HeldOut { pairs: 0.0, entities: 0.0, ..held_out.clone() };
        let only_pairs = HeldOut { texts: 1.0, entities: 0.0, ..held_out.clone() };
        let only_entities = HeldOut { texts: 1.0, pairs: 0.0, ..held_out.clone() };
        for example in &examples {
            let has_held_out_text = only_texts.split_of(example) != Split::Train;
            let has_held_out_pair = only_pairs.split_of(example) == Split::UnseenPairs;
            let has_held_out_entity = only_entities.split_of(example) == Split::UnseenEntities;
            let expected = match (has_held_out_text, has_held_out_pair, has_held_out_entity) {
                (false, false, false) => Split::Train,
                (false, _, _) => Split::Unused,
                (true, _, true) => Split::UnseenEntities,
                (true, true, false) => Split::UnseenPairs,
                (true, false, false) => Split::UnseenTexts,
            };
            prop_assert_eq!(held_out.split_of(example), expected);
        }
    }

    #[test]
    fn query_limits_are_respected(examples in examples(), held_out in held_out()) {
        let is_trained = |entity: &str| !held_out.holds_out_entity(entity);
        let Ok(splits) = collect_queries(&held_out, &examples, is_trained) else { return Ok(()) };
        let unlimited = HeldOut { queries: usize::MAX, per_entity: None, ..held_out.clone() };
        let all_queries = collect_queries(&unlimited, &examples, is_trained).unwrap();
        for (queries, all_queries) in splits.iter().zip(&all_queries) {
            let passages: BTreeSet<u64> = queries.iter().map(|query| query.passage).collect();
            prop_assert_eq!(passages.len(), queries.len(), "two queries of one passage");
            prop_assert!(queries.iter().all(|query| all_queries.contains(query)));
            let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
            for query in all_queries {
                *counts.entry(&query.entity).or_default() += 1;
            }
            let max_per_entity = held_out.per_entity.unwrap_or(usize::MAX);
            let available: usize = counts.values().map(|count| *count.min(&max_per_entity)).sum();
            prop_assert_eq!(queries.len(), available.min(held_out.queries), "the allowed number");
            for query in queries {
                prop_assert!(queries.iter().filter(|q| q.entity == query.entity).count() <= max_per_entity);
            }
        }
    }
}

/// 2,000 passages of 500 texts in four languages, about 50 entities.
fn many_examples() -> Vec<MentionExample> {
    (0..2000).map(|at| example(at, at / 4, (at * 7) % 50, at, 1 + at % 3)).collect()
}

#[test]
fn held_out_fractions_match_the_options() {
    let examples = many_examples();
    let fraction = |held_out: &HeldOut, split: Split, key: fn(&MentionExample) -> String| {
        let names: BTreeSet<String> = examples.iter().map(key).collect();
        let is_held_out = |example: &&MentionExample| held_out.split_of(example) == split;
        let held_out_names: BTreeSet<String> =
            examples.iter().filter(is_held_out).map(key).collect();
        held_out_names.len() as f64 / names.len() as f64
    };
    let nothing_held_out = HeldOut { texts: 0.0, pairs: 0.0, entities: 0.0, ..HeldOut::default() };
    let texts = HeldOut { texts: 0.3, ..nothing_held_out.clone() };
    let pairs = HeldOut { texts: 1.0, pairs: 0.3, ..nothing_held_out.clone() };
    let entities = HeldOut { texts: 1.0, entities: 0.3, ..nothing_held_out };
    type Key = fn(&MentionExample) -> String;
    let cases: [(_, _, Key, _); 3] = [
        (texts, Split::UnseenTexts, |example| example.id.clone(), 0.08),
        (pairs, Split::UnseenPairs, |example| format!("{:?}", triple(example)), 0.12),
        (entities, Split::UnseenEntities, |example| example.entity.clone(), 0.2),
    ];
    for (held_out, split, key, tolerance) in cases {
        let actual_fraction = fraction(&held_out, split, key);
        assert!((actual_fraction - 0.3).abs() < tolerance, "{split:?}: {actual_fraction}");
    }
}

#[test]
fn the_seed_determines_the_held_out_set() {
    let texts = |seed| {
        let held_out = HeldOut { seed, ..HeldOut::default() };
        let splits = split_examples(&held_out, &many_examples(), &many_examples()).unwrap();
        let [unseen_texts, ..] = splits.queries;
        unseen_texts.into_iter().map(|query| query.id).collect::<BTreeSet<String>>()
    };
    assert_eq!(texts(1), texts(1));
    assert_ne!(texts(1), texts(2));
}

#[test]
fn invalid_values_are_rejected_with_their_key() {
    let invalid_cases = [
        ("hold_out.texts = 0", HeldOut { texts: 0.0, ..HeldOut::default() }),
        ("hold_out.texts = 1", HeldOut { texts: 1.0, ..HeldOut::default() }),
        ("hold_out.texts = NaN", HeldOut { texts: f64::NAN, ..HeldOut::default() }),
        ("hold_out.pairs = -0.1", HeldOut { pairs: -0.1, ..HeldOut::default() }),
        ("hold_out.entities = 1", HeldOut { entities: 1.0, ..HeldOut::default() }),
        ("hold_out.entities = NaN", HeldOut { entities: f64::NAN, ..HeldOut::default() }),
        ("queries = 0", HeldOut { queries: 0, ..HeldOut::default() }),
        ("queries_per_entity = 0", HeldOut { per_entity: Some(0), ..HeldOut::default() }),
    ];
    for (beginning, held_out) in invalid_cases {
        let error = held_out.validate().unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{error}");
        assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
    }
    HeldOut { pairs: 0.0, entities: 0.0, ..HeldOut::default() }.validate().unwrap();
}

#[test]
fn missing_queries_are_an_error_that_names_the_key() {
    // All examples are from one text, which is not held out.
    let examples: Vec<MentionExample> = (0..5).map(|at| example(at, 0, at, at, 1)).collect();
    let held_out = (0..1_000)
        .map(|seed| HeldOut { pairs: 0.0, entities: 0.0, seed, ..HeldOut::default() })
        .find(|held_out| held_out.split_of(&examples[0]) == Split::Train)
        .unwrap();
    // The second case has no examples for queries at all.
    for queries in [&examples[..], &[]] {
        let error = split_examples(&held_out, &examples, queries).unwrap_err();
        assert!(matches!(error, Error::Empty { .. }), "{error}");
        let error = error.to_string();
        assert!(error.starts_with("queries for the probes"), "{error}");
        assert!(error.contains("hold_out.texts = 0.1"), "{error}");
    }
}
