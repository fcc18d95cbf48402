//! Triples with synthetic descriptions: read and divided.
use std::path::Path;

use kg_triples::knowledge::{DescribedBy, EntailmentDataset, EntailmentSource};
use kg_triples::{GraphBuilder, KgError, LabelKind};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::knowledge::{language, tokenizer};

fn load(source: &EntailmentSource) -> Result<EntailmentDataset, KgError> {
    EntailmentDataset::load(source, tokenizer())
}

fn source(folder: &Path) -> EntailmentSource {
    EntailmentSource {
        kg: folder.to_owned(),
        descriptions: DescribedBy::Triples,
        description_tokens: 16,
        ..Default::default()
    }
}

#[test]
fn keys_are_checked_before_anything_is_read() {
    let nowhere = source(Path::new("/no/such/folder"));
    for (beginning, source) in [
        ("held_out_fraction = 1", EntailmentSource { held_out_fraction: 1.0, ..nowhere.clone() }),
        (
            "held_out_fraction = NaN",
            EntailmentSource { held_out_fraction: f64::NAN, ..nowhere.clone() },
        ),
        ("description_tokens = 2", EntailmentSource { description_tokens: 2, ..nowhere.clone() }),
        ("smoothing = 2", EntailmentSource { smoothing: 2.0, ..nowhere.clone() }),
        (
            "languages = [\"en\"]",
            EntailmentSource { languages: vec![language("en")], ..nowhere.clone() },
        ),
        (
            "languages = [\"en\", \"en\"]",
            EntailmentSource { languages: vec![language("en"); 2], ..nowhere.clone() },
        ),
    ] {
        let error = load(&source).err().unwrap();
        assert!(matches!(error, KgError::Config { .. }), "{error}");
        assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
    }
    assert!(matches!(load(&nowhere), Err(KgError::Io { .. })));
}

#[test]
fn graphs_without_enough_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    crate::common::countries().write_dir(folder.path()).unwrap();
    let unknown = ["en", "fr"].map(language).into();
    let error = load(&EntailmentSource { languages: unknown, ..source(folder.path()) }).err();
    assert!(matches!(error, Some(KgError::UnknownLanguage { .. })), "{error:?}");
    // Nothing is below a fraction this small.
    let held_out_fraction = 1e-12;
    let error = load(&EntailmentSource { held_out_fraction, ..source(folder.path()) }).err();
    let error = error.unwrap().to_string();
    assert!(error.contains("held-out triples") && error.contains("held_out_fraction"), "{error}");
    let held_out_fraction = 1.0 - 1e-12;
    let error = load(&EntailmentSource { held_out_fraction, ..source(folder.path()) }).err();
    assert!(error.unwrap().to_string().contains("triples to train on"));

    let mut builder = GraphBuilder::default();
    builder.add_triple("Q1", "P1", "Q2").unwrap();
    builder.add_label("Q1", "en", "one", LabelKind::Entity).unwrap();
    builder.build().write_dir(folder.path()).unwrap();
    let error = load(&source(folder.path())).err().unwrap().to_string();
    assert!(error.starts_with("languages = [\"en\"]: must be two languages or more"), "{error}");
}

/// A graph whose entities have labels in some languages only: `Q0` to `Q99` in English and, every
/// fourth, in German; `Q200` to `Q299` in German alone; `Q300` in none.
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
fn labels_in_some_languages_are_enough_and_what_is_left_out_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    partly_labelled().write_dir(folder.path()).unwrap();
    let data = load(&source(folder.path())).unwrap();
    let report = data.report();
    // P1 to the German half: all 100; to Q300: none; P2: one end has German for every other triple.
    assert_eq!((report.triples, report.without_descriptions()), (300, 150));
    assert_eq!(report.train + report.test + report.ambiguous, 150);
    assert!(
        report.to_string().contains("(of 300: 150 without descriptions in two languages"),
        "{report}"
    );

    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let count = 20_000;
    let mut german = 0.0;
    for _ in 0..count {
        let example = data.sample(true, &mut rng).unwrap();
        let [subject, object] = [&example.subject_ids, &example.object_ids]
            .map(|ids| tokenizer().decode(ids, true).unwrap().contains("de Q"));
        assert_ne!(subject, object, "one in German, one in English");
        german += f64::from(u8::from(subject)) / f64::from(count);
    }
    // By hand: P1 has English subjects, about as many as are trained; P2 half of them each.
    let smooth = |n: f64| n.powf(0.3);
    let (few, many) = (25.0 * 0.8, 125.0 * 0.8);
    let expected = smooth(few) / (smooth(few) + smooth(many));
    assert!((german - expected).abs() < 0.06, "{german} for {expected}");
    assert!(german > few / (few + many) + 0.05, "more often than their share");
}

/// Descriptions in two languages of the countries' capitals and of two of the three countries.
fn described_folder() -> (tempfile::TempDir, EntailmentSource) {
    let folder = tempfile::tempdir().unwrap();
    let graph = crate::common::countries();
    graph.write_dir(folder.path()).unwrap();
    let mut ids: Vec<&str> = graph.triples().flat_map(|one| [one.head, one.tail]).collect();
    ids.sort_unstable();
    ids.dedup();
    let left_out = graph.triples().next().unwrap().head;
    let rows = |code: &str, json: bool| -> String {
        let own = ids.iter().filter(|id| **id != left_out);
        let line = |id: &&str| match json {
            true => format!("{{\"id\":\"{id}\",\"extract\":\"Words of {id} in {code}\"}}\n"),
            false => format!("{id}\t{code}\tWords of {id} in {code}\n"),
        };
        own.map(line).collect()
    };
    for code in ["de", "en"] {
        std::fs::write(folder.path().join(format!("entities.{code}.jsonl")), rows(code, true))
            .unwrap();
    }
    let table = format!("id\tlang\tdescription\n{}{}", rows("de", false), rows("en", false));
    std::fs::write(folder.path().join("descriptions.tsv"), table).unwrap();
    let pages = folder.path().to_owned();
    let descriptions = DescribedBy::Pages;
    let source =
        EntailmentSource { pages, descriptions, description_tokens: 32, ..source(folder.path()) };
    (folder, EntailmentSource { held_out_fraction: 0.0, ..source })
}

#[test]
fn texts_describe_and_nothing_takes_the_place_of_a_missing_one() {
    let (_folder, source) = described_folder();
    let data = load(&source).unwrap();
    let report = data.report();
    assert!(report.without_subject > 0 && report.train > 0, "{report:?}");
    assert_eq!(report.triples, report.train + report.without_descriptions());
    for index in 0..100 {
        let example = data.drawn(true, 3, index).unwrap();
        assert_ne!(example.subject_language, example.object_language);
        for (id, code, ids) in [
            (&example.subject, example.subject_language, &example.subject_ids),
            (&example.object, example.object_language, &example.object_ids),
        ] {
            let text = tokenizer().decode(ids, true).unwrap().replace(' ', "");
            assert_eq!(text, format!("Wordsof{id}in{code}"));
        }
    }
    // Wikidata's are the same here, but come from a table beside the triples.
    let wikidata = EntailmentSource { descriptions: DescribedBy::Wikidata, ..source.clone() };
    let other = load(&wikidata).unwrap();
    assert_eq!(other.report(), report);
    assert_eq!(other.drawn(true, 3, 7).unwrap(), data.drawn(true, 3, 7).unwrap());
    std::fs::remove_file(source.kg.join("descriptions.tsv")).unwrap();
    let error = load(&wikidata).err().unwrap().to_string();
    assert!(error.contains("descriptions.tsv"), "{error}");
    let pages = source.kg.join("none");
    let error = load(&EntailmentSource { pages, ..source }).err().unwrap().to_string();
    assert!(error.contains("none"), "{error}");
}

#[test]
fn what_describes_is_part_of_the_fingerprint() {
    let (folder, source) = described_folder();
    let fingerprint = || {
        let mut text = String::new();
        load(&source).unwrap().visit(|name, part| text.push_str(&format!("{name} {part}\n")));
        text
    };
    let before = fingerprint();
    assert_eq!(before, fingerprint());
    let path = folder.path().join("entities.de.jsonl");
    let changed = std::fs::read_to_string(&path).unwrap().replacen("Words", "Other words", 1);
    std::fs::write(&path, changed).unwrap();
    assert_ne!(before, fingerprint());
}

#[test]
fn an_empty_file_is_the_default() {
    let read = |text: &str| toml::from_str::<EntailmentSource>(text);
    assert_eq!(read("").unwrap(), EntailmentSource::default());
    assert!(read("held_out = 0.2").is_err());
}
