//! Tests of the split of triples with synthetic descriptions.
use std::collections::BTreeSet;

use kg_triples::knowledge::{EntailmentConfig, EntailmentExamples};
use kg_triples::{Error, KnowledgeGraph};
use proptest::prelude::*;

use crate::common::{countries, graph, language};
use crate::knowledge::tokenizer;

fn split_triples(
    graph: KnowledgeGraph,
    config: &EntailmentConfig,
) -> Result<EntailmentExamples, Error> {
    EntailmentExamples::with_triples(graph, tokenizer(), config)
}

fn config() -> EntailmentConfig {
    EntailmentConfig { description_tokens: 16, hold_out: 0.2, seed: 0, ..Default::default() }
}

#[test]
fn invalid_values_are_rejected() {
    for (beginning, config) in [
        ("hold_out = 1", EntailmentConfig { hold_out: 1.0, ..config() }),
        ("hold_out = NaN", EntailmentConfig { hold_out: f64::NAN, ..config() }),
        ("description_tokens = 2", EntailmentConfig { description_tokens: 2, ..config() }),
        ("smoothing = 2", EntailmentConfig { smoothing: 2.0, ..config() }),
        ("languages = [\"en\"]", EntailmentConfig { languages: vec![language("en")], ..config() }),
        (
            "languages = [\"en\", \"en\"]",
            EntailmentConfig { languages: vec![language("en"); 2], ..config() },
        ),
    ] {
        for error in
            [config.validate().unwrap_err(), split_triples(countries(), &config).err().unwrap()]
        {
            assert!(matches!(error, Error::Config { .. }), "{error}");
            assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
        }
    }
}

#[test]
fn missing_languages_are_rejected() {
    let unknown = EntailmentConfig { languages: ["en", "fr"].map(language).into(), ..config() };
    let error = split_triples(countries(), &unknown).err();
    assert!(matches!(error, Some(Error::UnknownLanguage { .. })), "{error:?}");

    let english = graph(&[["Q1", "P1", "Q2"]], &[["Q1", "en", "one"]]);
    let error = split_triples(english, &config()).err().unwrap().to_string();
    assert!(error.starts_with("languages = [\"en\"]: must be two languages or more"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::case_count(16)))]

    #[test]
    fn no_held_out_triple_is_trained(seed: u64, hold_out in 0.05f64..0.9) {
        let graph = crate::common::grid(6, 5);
        let config = EntailmentConfig { seed, hold_out, ..config() };
        let data = split_triples(graph, &config).unwrap();
        let (queries, candidates) = data.probe(1_000).unwrap();
        let report = data.report();
        prop_assert_eq!(report.train + report.test + report.ambiguous, report.triples);
        let train_facts: Vec<u32> = data.iter(seed).map(|example| example.unwrap().fact).collect();
        prop_assert_eq!(train_facts.len(), report.train);
        let trained: BTreeSet<u32> = train_facts.into_iter().collect();
        prop_assert!(queries.iter().all(|query| !trained.contains(&query.fact)));
        if report.train > 0 {
            for index in 0..50 {
                prop_assert!(trained.contains(&data.draw(seed, index).unwrap().fact));
            }
        }
        let entities = candidates.iter().map(|candidate| candidate.entity.as_str());
        let entities: BTreeSet<&str> = entities.collect();
        prop_assert_eq!(entities.len(), candidates.len());
        for query in &queries {
            prop_assert!(entities.contains(query.object.as_str()));
            prop_assert_ne!(query.subject_language, query.object_language);
        }
    }
}

/// A graph with partial labels: `Q0` to `Q99` in English, every fourth of them also in German;
/// `Q200` to `Q299` in German only; `Q300` without labels.
fn partly_labelled_graph() -> KnowledgeGraph {
    let mut labels = vec![["P1", "en", "near"].map(str::to_owned)];
    let mut triples = Vec::new();
    for at in 0..100 {
        let [head, tail] = [format!("Q{at}"), format!("Q{}", at + 200)];
        let label = |id: &str, code: &str| [id.to_owned(), code.to_owned(), format!("{code} {id}")];
        labels.extend([label(&head, "en"), label(&tail, "de")]);
        if at % 4 == 0 {
            labels.push(label(&head, "de"));
        }
        let next = format!("Q{}", (at + 1) % 100);
        for [relation, tail] in [["P1", tail.as_str()], ["P1", "Q300"], ["P2", next.as_str()]] {
            triples.push([head.as_str(), relation, tail].map(str::to_owned));
        }
    }
    graph(&triples, &labels)
}

#[test]
fn partial_labels_suffice_and_skipped_triples_are_counted() {
    let data = split_triples(partly_labelled_graph(), &config()).unwrap();
    let report = data.report();
    // Of the 300 triples, 150 are used: all 100 triples of P1 with a German tail, and 50 of the 100
    // triples of P2, in which head or tail has a German label. The 100 triples of P1 with the tail
    // Q300 are skipped, because Q300 has no label.
    let skipped = report.without_subject + report.without_object + report.without_language;
    assert_eq!((report.triples, skipped), (300, 150));
    assert_eq!(report.train + report.test + report.ambiguous, 150);

    let count = 20_000;
    let mut german_fraction = 0.0;
    for index in 0..count {
        let example = data.draw(5, index).unwrap();
        let [subject, object] = [&example.subject_ids, &example.object_ids]
            .map(|ids| tokenizer().decode(ids, true).unwrap().contains("de Q"));
        assert_ne!(subject, object, "one in German, the other in English");
        german_fraction += f64::from(u8::from(subject)) / count as f64;
    }
    // Before triples are held out, 125 triples can have an English subject: 100 triples of P1, and
    // 25 of P2. A German subject is possible in 25 triples of P2. The test holds out 20 %.
    let smoothed_count = |n: f64| n.powf(0.3);
    let (de, en) = (25.0 * 0.8, 125.0 * 0.8);
    let expected = smoothed_count(de) / (smoothed_count(de) + smoothed_count(en));
    assert!((german_fraction - expected).abs() < 0.06, "{german_fraction} for {expected}");
    assert!(german_fraction > de / (de + en) + 0.05, "above its unsmoothed share");
}
