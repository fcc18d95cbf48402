//! Mentions from files: read, linked, encoded and divided.
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use kg_triples::KgError;
use kg_triples::knowledge::{HeldOut, MentionConfig, MentionDataset, MentionSource};

use crate::{common, language, tokenizer};

/// Pages of 60 places in three languages, each of which names two others.
fn pages(folder: &Path) {
    for code in ["de", "en", "es"] {
        let lines = (0..60).map(|at| {
            let (one, other) = ((at * 7 + 1) % 60, (at * 11 + 5) % 60);
            format!(
                "{{\"id\":\"Q{at}\",\"label\":\"Stadt {at}\",\"extract\":\"Hier Stadt {one} .\\n\
                 Dort Stadt {other} .\"}}\n"
            )
        });
        common::write(folder, &format!("entities.{code}.jsonl"), lines.collect::<String>());
    }
}

fn source(folder: &Path) -> MentionSource {
    MentionSource {
        pages: folder.to_owned(),
        description_tokens: 16,
        examples: MentionConfig { max_tokens: 24, ..MentionConfig::default() },
        held_out: HeldOut { texts: 0.3, queries: 20, per_entity: Some(2), ..HeldOut::default() },
        ..MentionSource::default()
    }
}

fn load(source: &MentionSource, multilingual: bool) -> Result<MentionDataset, KgError> {
    MentionDataset::load(source, multilingual, tokenizer())
}

#[test]
fn what_is_loaded_holds_out_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    let source = MentionSource { draws: 3, ..source(folder.path()) };
    for multilingual in [true, false] {
        let data = load(&source, multilingual).unwrap();
        let texts: BTreeSet<&str> = data.train.iter().map(|example| &*example.id).collect();
        let entities: BTreeSet<&str> = data.train.iter().map(|example| &*example.entity).collect();
        let tests = [&data.test_seen_pairs, &data.test_unseen_pairs, &data.test_unseen_entities];
        for queries in tests {
            assert!(!queries.is_empty() && queries.len() <= 20);
            for query in queries {
                assert!(!texts.contains(&*query.id));
                assert_ne!(query.language, query.description_language);
                assert!(queries.iter().filter(|other| other.entity == query.entity).count() <= 2);
            }
        }
        for query in &data.test_unseen_pairs {
            let pair = (&query.entity, query.language, query.description_language);
            let trained = |e: &&kg_triples::knowledge::MentionExample| {
                (&e.entity, e.language, e.description_language) == pair
            };
            assert_eq!(data.train.iter().filter(trained).count(), 0);
        }
        assert!(data.test_unseen_entities.iter().all(|query| !entities.contains(&*query.entity)));
        for example in &data.train {
            assert_eq!(example.language != example.description_language, multilingual);
        }
        assert_eq!(data.entities.len(), 60);
        assert_eq!(data.languages(), ["de", "en", "es"].map(language).into());
        let report = data.report;
        assert_eq!((report.texts, report.entities), (180, 60));
        assert_eq!(report.train_entities, entities.len());
        assert_eq!(report.test_seen_pairs, data.test_seen_pairs.len());
        let line = report.to_string();
        assert!(line.starts_with("180 texts, 60 described entities; "), "{line}");
    }
}

#[test]
fn threads_change_nothing() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    let source = source(folder.path());
    let [one, four] = [1, 4].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| load(&source, true).unwrap())
    });
    assert_eq!(one.train, four.train);
    assert_eq!(one.test_seen_pairs, four.test_seen_pairs);
    assert_eq!(one.test_unseen_pairs, four.test_unseen_pairs);
    assert_eq!(one.test_unseen_entities, four.test_unseen_entities);
    assert_eq!((one.descriptions, one.entities), (four.descriptions, four.entities));
}

#[test]
fn languages_entities_and_texts_can_be_limited() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    let all = source(folder.path());
    let two = MentionSource { languages: ["de", "es"].map(language).into(), ..all.clone() };
    let data = load(&two, true).unwrap();
    assert_eq!(data.languages(), ["de", "es"].map(language).into());
    let few = MentionSource { most_mentioned: Some(20), ..all.clone() };
    let data = load(&few, true).unwrap();
    assert_eq!(data.entities.len(), 20);
    let known: BTreeSet<&String> = data.entities.iter().collect();
    assert!(data.train.iter().all(|example| known.contains(&example.entity)));

    // Texts with links of their own, one of them in a language that is not wanted.
    let text = |id: usize, code: &str| {
        format!(
            "{{\"id\":\"T{id}\",\"lang\":\"{code}\",\"text\":\"Bern und Rom\",\"mentions\":\
             [{{\"start\":0,\"end\":4,\"entity\":\"Q{}\"}}]}}\n",
            id % 60
        )
    };
    let lines = (0..200).map(|id| text(id, "de")).chain([text(900, "sw")]);
    common::write(folder.path(), "texts.jsonl", lines.collect::<String>());
    let linked_texts = MentionSource { text: Some(folder.path().join("texts.jsonl")), ..two };
    let data = load(&linked_texts, true).unwrap();
    assert_eq!(data.report.texts, 200);
    assert!(data.train.iter().all(|example| example.id.starts_with('T')));
    assert!(data.train.iter().all(|example| example.description_language == "es"));
}

#[test]
fn keys_are_checked_before_anything_is_read() {
    let nowhere = source(Path::new("/no/such/folder"));
    for (beginning, source) in [
        ("draws = 0", MentionSource { draws: 0, ..nowhere.clone() }),
        ("draws = 1000000000000", MentionSource { draws: 1_000_000_000_000, ..nowhere.clone() }),
        ("smoothing = -1", MentionSource { smoothing: -1.0, ..nowhere.clone() }),
        ("smoothing = NaN", MentionSource { smoothing: f64::NAN, ..nowhere.clone() }),
        ("entity_smoothing = -1", MentionSource { entity_smoothing: -1.0, ..nowhere.clone() }),
        ("entity_smoothing = 2", MentionSource { entity_smoothing: 2.0, ..nowhere.clone() }),
        ("most_mentioned = 0", MentionSource { most_mentioned: Some(0), ..nowhere.clone() }),
        ("description_tokens = 2", MentionSource { description_tokens: 2, ..nowhere.clone() }),
        (
            "examples.max_tokens = 0",
            MentionSource {
                examples: MentionConfig { max_tokens: 0, ..MentionConfig::default() },
                ..nowhere.clone()
            },
        ),
        (
            "held_out.texts = 0",
            MentionSource {
                held_out: HeldOut { texts: 0.0, ..HeldOut::default() },
                ..nowhere.clone()
            },
        ),
    ] {
        let error = load(&source, true).err().unwrap();
        assert!(matches!(error, KgError::Config { .. }), "{error}");
        assert!(error.to_string().starts_with(beginning), "{beginning}: {error}");
    }
    let error = load(&nowhere, true).err().unwrap();
    assert!(matches!(&error, KgError::Io { .. }) && error.to_string().contains("/no/such/folder"));
}

#[test]
fn nothing_to_train_on_names_the_folder_and_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let name = folder.path().display().to_string();
    // No page at all, then pages that mention nobody.
    common::write(folder.path(), "entities.de.jsonl", "");
    let error = load(&source(folder.path()), true).err().unwrap().to_string();
    assert!(error.contains(&name) && error.contains("`pages`"), "{error}");
    for code in ["de", "en"] {
        let page = "{\"id\":\"Q1\",\"label\":\"Bern\",\"extract\":\"Eine Stadt.\"}\n";
        common::write(folder.path(), &format!("entities.{code}.jsonl"), page);
    }
    let error = load(&source(folder.path()), true).err().unwrap();
    assert!(matches!(&error, KgError::Empty { .. }), "{error}");
    assert!(error.to_string().contains("mentions of described entities"), "{error}");
    // Nearly everything is held out.
    pages(folder.path());
    let held_out = HeldOut { texts: 0.999_999, ..HeldOut::default() };
    let error = load(&MentionSource { held_out, ..source(folder.path()) }, true).err().unwrap();
    let error = error.to_string();
    assert!(error.contains(&name) && error.contains("held_out.texts = 0.999999"), "{error}");
}

#[test]
fn an_empty_file_is_the_default() {
    let read = |text: &str| toml::from_str::<MentionSource>(text);
    assert_eq!(read("").unwrap(), MentionSource::default());
    let wanted = MentionSource { pages: PathBuf::from("codex"), ..MentionSource::default() };
    assert_eq!(read("pages = 'codex'").unwrap(), wanted);
    assert!(read("page = 'codex'").is_err());
    let error = read("languages = ['de', 'not a code']").unwrap_err().to_string();
    assert!(error.contains("language"), "{error}");
    // Another type of paths.
    let own: MentionSource<String> = toml::from_str("pages = 'codex'\ntext = 't'").unwrap();
    assert_eq!((own.pages.as_str(), own.text.as_deref()), ("codex", Some("t")));
}
