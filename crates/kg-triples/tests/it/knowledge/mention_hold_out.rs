//! Tests of mention examples with held-out data.
use std::collections::{BTreeMap, BTreeSet};

use kg_triples::Error;
use kg_triples::entity_linking::LinkedText;
use kg_triples::knowledge::{
    EncodedDescriptions, EntityCounts, HeldOut, MentionConfig, MentionExample, MentionExamples,
};

use super::{describe, tokenizer};
use crate::common::{language, linked_text};

const LANGUAGES: [&str; 3] = ["de", "en", "es"];

/// A text of two lines, each of which mentions two of the entities. `code` is the index of the
/// text's language.
fn text(id: usize, entities: [usize; 4], code: usize) -> LinkedText {
    let entities = entities.map(|entity| format!("Q{entity}"));
    let names = ["Berlin", "Paris", "London", "Rome"].into_iter();
    let mentions: Vec<_> = names.zip(entities.iter().map(String::as_str)).collect();
    let text = linked_text(LANGUAGES[code % 3], "Berlin and Paris\nLondon and Rome", &mentions);
    LinkedText { id: format!("T{id}"), ..text }
}

/// Twenty entities, described in three languages.
fn descriptions() -> EncodedDescriptions {
    let ids: Vec<String> = (0..20).map(|entity| format!("Q{entity}")).collect();
    let entities: Vec<(&str, &[&str])> =
        ids.iter().map(|id| (id.as_str(), &LANGUAGES[..])).collect();
    describe(&entities).encode(tokenizer(), 32).unwrap()
}

type SplitExamples = (Vec<MentionExample>, [Vec<MentionExample>; 3]);

fn split_examples(
    texts: &[LinkedText],
    descriptions: &EncodedDescriptions,
    held_out: &HeldOut,
    config: &MentionConfig,
) -> Result<SplitExamples, Error> {
    let texts = texts.iter().cloned().map(Ok);
    let mut examples = MentionExamples::new(texts, descriptions, tokenizer(), config.clone())?
        .holding_out(held_out)?;
    let train = examples.by_ref().collect::<Result<_, _>>()?;
    let queries = examples.queries()?;
    Ok((train, queries))
}

/// Creates `count` texts, each of which mentions four of the twenty entities.
fn texts(count: usize) -> Vec<LinkedText> {
    let entities = |at: usize| [at * 7 % 20, (at * 3 + 1) % 20, (at * 11 + 5) % 20, at % 20];
    (0..count).map(|at| text(at, entities(at), at / 7)).collect()
}

#[test]
fn monolingual_training_has_equal_queries() {
    let (texts, descriptions) = (texts(400), descriptions());
    let held_out = HeldOut { texts: 0.3, queries: 20, per_entity: Some(2), ..HeldOut::default() };
    let multilingual_config = MentionConfig::default();
    let monolingual_config = MentionConfig { multilingual: false, ..multilingual_config.clone() };
    let (_, queries) =
        split_examples(&texts, &descriptions, &held_out, &multilingual_config).unwrap();
    let (train, monolingual_queries) =
        split_examples(&texts, &descriptions, &held_out, &monolingual_config).unwrap();
    assert_eq!(queries, monolingual_queries);
    assert!(train.iter().all(|example| example.language == example.description_language));
    for queries in &queries {
        assert!(!queries.is_empty() && queries.len() <= 20);
        for query in queries {
            assert!(queries.iter().filter(|other| other.entity == query.entity).count() <= 2);
        }
    }
}

#[test]
fn held_out_passages_are_counted() {
    let (texts, descriptions) = (texts(300), descriptions());
    let held_out = HeldOut { texts: 0.3, entities: 0.5, ..HeldOut::default() };
    let config = MentionConfig::default();
    let source = texts.iter().cloned().map(Ok);
    let mut examples = MentionExamples::new(source, &descriptions, tokenizer(), config)
        .and_then(|examples| examples.holding_out(&held_out))
        .unwrap();
    let example_count = examples.by_ref().count();
    let report = examples.report();
    let text_count = texts.iter().filter(|text| held_out.holds_out_text(&text.id)).count();
    assert!(
        report.held_out > 2 * text_count,
        "held-out texts, and passages with held-out entities only"
    );
    assert_eq!((report.passages, report.examples), (600, 600 - report.held_out));
    assert_eq!(example_count, report.examples);
    // All texts are held out, which is an error.
    let all_texts = HeldOut { texts: 0.999_999, ..HeldOut::default() };
    let error =
        split_examples(&self::texts(5), &descriptions, &all_texts, &MentionConfig::default())
            .unwrap_err();
    assert!(matches!(error, Error::Empty { .. }), "{error}");
    let error = error.to_string();
    assert!(error.contains("training mentions"), "{error}");
    assert!(error.contains("hold_out.texts = 0.999999"), "{error}");
}

#[test]
fn smoothing_draws_rare_entities_more_often() {
    // Q1 is mentioned in 900 German texts, Q2 in 100. Q3 is the only entity of Spanish texts.
    let berlin_text = |code: &str, entity: &str| linked_text(code, "Berlin", &[("Berlin", entity)]);
    let german = (0..1_000).map(|at| berlin_text("de", if at % 10 == 0 { "Q2" } else { "Q1" }));
    let texts: Vec<_> = german.chain((0..50).map(|_| berlin_text("es", "Q3"))).collect();
    let descriptions = descriptions();
    let examples = |seed: u64| {
        let config = MentionConfig { seed, ..MentionConfig::default() };
        let source = texts.iter().cloned().map(Ok);
        MentionExamples::new(source, &descriptions, tokenizer(), config).unwrap()
    };
    let mut unsampled = examples(0);
    assert_eq!(unsampled.by_ref().count(), 1_050);
    assert_eq!(unsampled.mention_counts().get(language("de"), "Q1"), 900);
    let count = |exponent: f64| {
        let resampling = unsampled.mention_counts().resampling(exponent).unwrap();
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        for seed in 0..20 {
            for example in examples(seed).resampled(&resampling) {
                *counts.entry(example.unwrap().entity).or_default() += 1.0;
            }
        }
        counts
    };
    assert_eq!(count(1.0)["Q1"], 18_000.0, "unchanged");
    let counts = count(0.3);
    let ratio = counts["Q1"] / counts["Q2"];
    assert!((ratio - 9f64.powf(0.3)).abs() < 0.1, "{ratio} for 9^0.3");
    let german = counts["Q1"] + counts["Q2"];
    assert!((german - 20_000.0).abs() < 400.0, "{german}: the number of mentions");
    assert_eq!(counts["Q3"], 1_000.0, "the only entity of its language");
    for exponent in [-0.1, 1.1, f64::NAN] {
        let error = unsampled.mention_counts().resampling(exponent).unwrap_err().to_string();
        assert!(error.starts_with("entity_smoothing = "), "{error}");
    }
}

#[test]
fn most_mentioned_entities_prefer_many_languages() {
    // Q0 is mentioned 8 times in German. Q1 is mentioned 4 times in German and 4 times in Spanish.
    let german = (0..2).map(|at| text(at, [0; 4], 0));
    let two_languages = (2..4).map(|at| text(at, [1; 4], 2 * (at - 2)));
    let counts = EntityCounts::from_texts(german.chain(two_languages).map(Ok)).unwrap();
    assert_eq!(counts.most_mentioned(1), BTreeSet::from(["Q1"]));
    assert_eq!(counts.most_mentioned(9), BTreeSet::from(["Q0", "Q1"]));
    assert!(counts.contains("Q0") && !counts.contains("Q2"));
}

#[test]
fn gold_entities_are_the_first_candidates() {
    let descriptions = descriptions();
    let [de, es] = ["de", "es"].map(language);
    let gold_pairs = BTreeSet::from([("Q3", de), ("Q3", es), ("Q5", de)]);
    let candidates = descriptions.candidates(&gold_pairs, 6, 1);
    let entities: BTreeSet<&str> =
        candidates.iter().map(|candidate| candidate.entity.as_str()).collect();
    assert_eq!((candidates.len(), entities.len()), (7, 6));
    let first: Vec<_> = candidates
        .iter()
        .take(3)
        .map(|candidate| (&*candidate.entity, candidate.language))
        .collect();
    assert_eq!(first, [("Q3", de), ("Q3", es), ("Q5", de)]);
    for candidate in &candidates {
        let entity_descriptions = descriptions.get(&candidate.entity).iter();
        let mut matching_descriptions =
            entity_descriptions.filter(|(language, _)| *language == candidate.language);
        assert_eq!(matching_descriptions.next().unwrap().1, candidate.input_ids);
    }
    assert_eq!(candidates, descriptions.candidates(&gold_pairs, 6, 1));
    assert_ne!(candidates, descriptions.candidates(&gold_pairs, 6, 2));
    // All gold entities are candidates, even if there are more than the maximum number of
    // candidates. If the maximum is larger than the number of entities, all entities are
    // candidates.
    assert_eq!(descriptions.candidates(&gold_pairs, 1, 1).len(), 3);
    assert_eq!(descriptions.candidates(&gold_pairs, 900, 1).len(), 21);
}
