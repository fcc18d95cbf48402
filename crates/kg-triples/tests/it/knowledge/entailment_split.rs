//! Tests of the split of triples with synthetic descriptions.
use std::collections::BTreeSet;
use std::path::Path;

use kg_triples::entity_linking::PageText;
use kg_triples::knowledge::{Descriptions, EntailmentConfig, EntailmentExamples};
use kg_triples::{Error, GraphBuilder, KnowledgeGraph, LabelKind};
use proptest::prelude::*;

use crate::knowledge::{language, tokenizer};

fn with_triples(
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
        for error in [
            config.validate().unwrap_err(),
            with_triples(crate::common::countries(), &config).err().unwrap(),
        ] {
            assert!(matches!(error, Error::Config { .. }), "{error}");
            assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
        }
    }
}

#[test]
fn missing_languages_are_rejected() {
    let unknown = EntailmentConfig { languages: ["en", "fr"].map(language).into(), ..config() };
    let error = with_triples(crate::common::countries(), &unknown).err();
    assert!(matches!(error, Some(Error::UnknownLanguage { .. })), "{error:?}");

    let mut builder = GraphBuilder::default();
    builder.add_triple("Q1", "P1", "Q2").unwrap();
    builder.add_label("Q1", "en", "one", LabelKind::Entity).unwrap();
    let error = with_triples(builder.build(), &config()).err().unwrap().to_string();
    assert!(error.starts_with("languages = [\"en\"]: must be two languages or more"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::cases(16)))]

    #[test]
    fn no_held_out_triple_is_trained(seed: u64, hold_out in 0.05f64..0.9) {
        let graph = crate::common::grid(6, 5);
        let config = EntailmentConfig { seed, hold_out, ..config() };
        let data = with_triples(graph, &config).unwrap();
        let (queries, candidates) = data.probe(1_000).unwrap();
        let report = data.report();
        prop_assert_eq!(report.train + report.test + report.ambiguous, report.triples);
        let once: Vec<u32> = data.once(seed).map(|example| example.unwrap().fact).collect();
        prop_assert_eq!(once.len(), report.train);
        let trained: BTreeSet<u32> = once.into_iter().collect();
        prop_assert!(queries.iter().all(|query| !trained.contains(&query.fact)));
        if report.train > 0 {
            for index in 0..50 {
                prop_assert!(trained.contains(&data.drawn(seed, index).unwrap().fact));
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
fn partly_labelled() -> kg_triples::KnowledgeGraph {
    let mut builder = GraphBuilder::default();
    builder.add_label("P1", "en", "near", LabelKind::Relation).unwrap();
    let mut label = |id: String, code: &str| {
        let text = format!("{code} {id}");
        builder.add_label(&id, code, &text, LabelKind::Entity).unwrap();
    };
    for at in 0..100 {
        label(format!("Q{at}"), "en");
        label(format!("Q{}", at + 200), "de");
        if at % 4 == 0 {
            label(format!("Q{at}"), "de");
        }
    }
    for at in 0..100 {
        builder.add_triple(&format!("Q{at}"), "P1", &format!("Q{}", at + 200)).unwrap();
        builder.add_triple(&format!("Q{at}"), "P1", "Q300").unwrap();
        builder.add_triple(&format!("Q{at}"), "P2", &format!("Q{}", (at + 1) % 100)).unwrap();
    }
    builder.build()
}

#[test]
fn partial_labels_suffice_and_skipped_triples_are_counted() {
    let data = with_triples(partly_labelled(), &config()).unwrap();
    let report = data.report();
    // P1 to the German entities: all 100; to Q300: none; P2: one entity has a German label in every
    // other triple.
    let skipped = report.without_subject + report.without_object + report.without_language;
    assert_eq!((report.triples, skipped), (300, 150));
    assert_eq!(report.train + report.test + report.ambiguous, 150);

    let count = 20_000;
    let mut german = 0.0;
    for index in 0..count {
        let example = data.drawn(5, index).unwrap();
        let [subject, object] = [&example.subject_ids, &example.object_ids]
            .map(|ids| tokenizer().decode(ids, true).unwrap().contains("de Q"));
        assert_ne!(subject, object, "one in German, the other in English");
        german += f64::from(u8::from(subject)) / count as f64;
    }
    // Expected: subjects of P1 are English; subjects of P2 are half English, half German.
    let smooth = |n: f64| n.powf(0.3);
    let (few, many) = (25.0 * 0.8, 125.0 * 0.8);
    let expected = smooth(few) / (smooth(few) + smooth(many));
    assert!((german - expected).abs() < 0.06, "{german} for {expected}");
    assert!(german > few / (few + many) + 0.05, "above its unsmoothed share");
}

/// Writes descriptions in two languages for all entities of [`countries`](crate::common::countries)
/// except one.
fn write_descriptions(folder: &Path) -> KnowledgeGraph {
    let graph = crate::common::countries();
    let mut ids: Vec<&str> =
        graph.triples().flat_map(|triple| [triple.head, triple.tail]).collect();
    ids.sort_unstable();
    ids.dedup();
    let skipped = graph.triples().next().unwrap().head;
    for code in ["de", "en"] {
        let described = ids.iter().filter(|id| **id != skipped);
        let lines = described
            .map(|id| format!("{{\"id\":\"{id}\",\"extract\":\"Words of {id} in {code}\"}}\n"));
        crate::common::write(folder, &format!("entities.{code}.jsonl"), lines.collect::<String>());
    }
    graph
}

#[test]
fn missing_descriptions_are_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let graph = write_descriptions(folder.path());
    let with_texts = |texts: &Descriptions| {
        let texts = texts.encode(tokenizer(), 32).unwrap();
        let config = EntailmentConfig { hold_out: 0.0, ..config() };
        EntailmentExamples::with_texts(graph.clone(), texts, &config).unwrap()
    };
    let pages = Descriptions::of_pages(folder.path(), PageText::Extract, |_| true, |_| true);
    let data = with_texts(&pages.unwrap());
    let report = data.report();
    assert!(report.without_subject > 0 && report.train > 0, "{report:?}");
    let skipped = report.without_subject + report.without_object + report.without_language;
    assert_eq!(report.triples, report.train + skipped);
    for index in 0..100 {
        let example = data.drawn(3, index).unwrap();
        assert_ne!(example.subject_language, example.object_language);
        for (id, code, ids) in [
            (&example.subject, example.subject_language, &example.subject_ids),
            (&example.object, example.object_language, &example.object_ids),
        ] {
            let text = tokenizer().decode(ids, true).unwrap().replace(' ', "");
            assert_eq!(text, format!("Wordsof{id}in{code}"));
        }
    }
}
