//! Mentions from files: read, linked, encoded and divided.
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use kg_triples::KgError;
use kg_triples::knowledge::{
    HeldOut, MentionConfig, MentionDataset, MentionExample, MentionLinks, MentionSource,
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::knowledge::{language, tokenizer};

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
        crate::common::write(folder, &format!("entities.{code}.jsonl"), lines.collect::<String>());
    }
}

fn source(folder: &Path) -> MentionSource {
    MentionSource {
        pages: folder.to_owned(),
        links: MentionLinks::Labels,
        description_tokens: 16,
        passages: MentionConfig { max_tokens: 24, ..MentionConfig::default() },
        held_out: HeldOut { texts: 0.3, queries: 20, per_entity: Some(2), ..HeldOut::default() },
        ..MentionSource::default()
    }
}

fn load(source: &MentionSource, multilingual: bool) -> Result<MentionDataset, KgError> {
    MentionDataset::load(source, multilingual, tokenizer())
}

/// So many training examples, drawn with a seed.
fn drawn(data: &MentionDataset, count: usize, seed: u64) -> Vec<MentionExample> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..count).map(|k| data.train.example(k, &mut rng).unwrap().into_owned()).collect()
}

#[test]
fn what_is_loaded_holds_out_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    let source = source(folder.path());
    for multilingual in [true, false] {
        let data = load(&source, multilingual).unwrap();
        let train = drawn(&data, 4000, 1);
        let texts: BTreeSet<&str> = train.iter().map(|example| &*example.id).collect();
        let entities: BTreeSet<&str> = train.iter().map(|example| &*example.entity).collect();
        assert_eq!(entities, data.train.entities());
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
            let trained =
                |e: &&MentionExample| (&e.entity, e.language, e.description_language) == pair;
            assert_eq!(train.iter().filter(trained).count(), 0);
        }
        assert!(data.test_unseen_entities.iter().all(|query| !entities.contains(&*query.entity)));
        for example in &train {
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
    assert_eq!(drawn(&one, 500, 7), drawn(&four, 500, 7));
    assert_ne!(drawn(&one, 500, 7), drawn(&one, 500, 8), "another seed draws something else");
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
    assert!(drawn(&data, 300, 1).iter().all(|example| known.contains(&example.entity)));

    // Texts with links of their own, one of them in a language that is not wanted.
    let text = |id: usize, code: &str| {
        format!(
            "{{\"id\":\"T{id}\",\"lang\":\"{code}\",\"text\":\"Bern und Rom\",\"mentions\":\
             [{{\"start\":0,\"end\":4,\"entity\":\"Q{}\"}}]}}\n",
            id % 60
        )
    };
    let lines = (0..200).map(|id| text(id, "de")).chain([text(900, "sw")]);
    crate::common::write(folder.path(), "texts.jsonl", lines.collect::<String>());
    let text = Some(folder.path().join("texts.jsonl"));
    let linked_texts = MentionSource { text, links: MentionLinks::Anchors, ..two };
    let data = load(&linked_texts, true).unwrap();
    assert_eq!(data.report.texts, 200);
    let train = drawn(&data, 300, 1);
    assert!(train.iter().all(|example| example.id.starts_with('T')));
    assert!(train.iter().all(|example| example.description_language == "es"));
}

#[test]
fn a_passage_gives_all_its_mentions_and_small_languages_are_drawn_more_often() {
    let folder = tempfile::tempdir().unwrap();
    pages(folder.path());
    // 200 texts in one language, 8 in another, each with two mentions in one line.
    let text = |id: usize, code: &str| {
        let mention = |start: usize, entity: usize| {
            format!("{{\"start\":{start},\"end\":{},\"entity\":\"Q{}\"}}", start + 3, entity % 60)
        };
        let (one, other) = (mention(0, id), mention(8, id + 30));
        format!(
            "{{\"id\":\"T{id}\",\"lang\":\"{code}\",\"text\":\"Ulm und Rom\",\"mentions\":[{one},{other}]}}\n"
        )
    };
    let lines = (0..200).map(|id| text(id, "de")).chain((200..208).map(|id| text(id, "es")));
    crate::common::write(folder.path(), "texts.jsonl", lines.collect::<String>());
    let held_out = HeldOut { texts: 0.1, pairs: 0.0, entities: 0.0, ..HeldOut::default() };
    let source = MentionSource {
        text: Some(folder.path().join("texts.jsonl")),
        links: MentionLinks::Anchors,
        held_out,
        ..source(folder.path())
    };
    let data = load(&source, true).unwrap();
    let count = 40_000;
    let train = drawn(&data, count, 3);
    let mut places: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let (mut german, mut pairs) = (0, BTreeMap::new());
    for example in &train {
        places.entry(&example.id).or_default().insert(example.mention.start);
        german += usize::from(example.language == "de");
        let pair = (example.entity.clone(), example.language, example.description_language);
        *pairs.entry(pair).or_insert(0.0) += 1.0 / count as f64;
    }
    assert!(places.values().all(|mentions| mentions.len() == 2), "both mentions of each passage");
    let texts = |code: &str| {
        let of_language = |id: &&&str| (id[1..].parse::<usize>().unwrap() < 200) == (code == "de");
        places.keys().filter(of_language).count() as f64
    };
    // n^0.3 of the mentions, by hand.
    let [de, es] = ["de", "es"].map(|code| (2.0 * texts(code)).powf(0.3));
    let share = german as f64 / count as f64;
    assert!((share - de / (de + es)).abs() < 0.01, "{share} for {}", de / (de + es));
    // The shares that are told are those that are drawn.
    let shares = data.train.shares();
    assert!((shares.values().sum::<f64>() - 1.0).abs() < 1e-9);
    for (pair, share) in &shares {
        let found = pairs.get(pair).copied().unwrap_or(0.0);
        let spread = (share / count as f64).sqrt();
        assert!((found - share).abs() < 6.0 * spread, "{pair:?}: {found} for {share}");
    }
    assert!(pairs.keys().all(|pair| shares.contains_key(pair)));
}

#[test]
fn keys_are_checked_before_anything_is_read() {
    let nowhere = source(Path::new("/no/such/folder"));
    for (beginning, source) in [
        ("text = none", MentionSource { links: MentionLinks::Anchors, ..nowhere.clone() }),
        ("links = labels", MentionSource { text: Some(PathBuf::from("t")), ..nowhere.clone() }),
        ("smoothing = -1", MentionSource { smoothing: -1.0, ..nowhere.clone() }),
        ("smoothing = NaN", MentionSource { smoothing: f64::NAN, ..nowhere.clone() }),
        ("entity_smoothing = -1", MentionSource { entity_smoothing: -1.0, ..nowhere.clone() }),
        ("entity_smoothing = 2", MentionSource { entity_smoothing: 2.0, ..nowhere.clone() }),
        ("most_mentioned = 0", MentionSource { most_mentioned: Some(0), ..nowhere.clone() }),
        ("description_tokens = 2", MentionSource { description_tokens: 2, ..nowhere.clone() }),
        (
            "passages.max_tokens = 0",
            MentionSource {
                passages: MentionConfig { max_tokens: 0, ..MentionConfig::default() },
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
    crate::common::write(folder.path(), "entities.de.jsonl", "");
    let error = load(&source(folder.path()), true).err().unwrap().to_string();
    assert!(error.contains(&name) && error.contains("`pages`"), "{error}");
    for code in ["de", "en"] {
        let page = "{\"id\":\"Q1\",\"label\":\"Bern\",\"extract\":\"Eine Stadt.\"}\n";
        crate::common::write(folder.path(), &format!("entities.{code}.jsonl"), page);
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
