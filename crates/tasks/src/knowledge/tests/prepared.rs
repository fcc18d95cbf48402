//! Tests of the statistics and probes of prepared folders.
use kg_triples::Language;
use kg_triples::knowledge::{Candidate, EntailmentExample, MentionExample, TokenSpan};

use crate::knowledge::tests::{prepare, to_json};
use crate::knowledge::*;

fn language(code: &str) -> Language {
    Language::new(code).unwrap()
}

fn mention(entity: &str, [from, to]: [&str; 2]) -> MentionExample {
    MentionExample {
        passage: 0,
        id: "T1".into(),
        language: language(from),
        input_ids: vec![0, 7, 2],
        mention: TokenSpan { start: 1, end: 2 },
        entity: entity.into(),
        description_language: language(to),
        description_ids: vec![0, 9, 2],
    }
}

fn candidate(entity: &str, code: &str) -> Candidate {
    Candidate { entity: entity.into(), language: language(code), input_ids: vec![0, 9, 2] }
}

#[test]
fn training_lines_about_candidates_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mentions");
    let train = [
        mention("Q1", ["de", "en"]),
        mention("Q1", ["de", "en"]),
        mention("Q1", ["es", "en"]),
        mention("Q3", ["de", "en"]),
    ];
    let files = [
        ("train/mentions", to_json(&train)),
        ("probe/unseen-pairs", to_json(&[mention("Q1", ["de", "es"])])),
        ("probe/candidates", to_json(&[candidate("Q1", "es"), candidate("Q2", "zh")])),
    ];
    prepare(&path, &files);
    let shards = MentionShards::open(&path).unwrap();
    let [de, en, es] = ["de", "en", "es"].map(language);
    let expected = [(("Q1".to_owned(), de, en), 2), (("Q1".to_owned(), es, en), 1)];
    assert_eq!(shards.trained_pairs, expected.into());
    // `languages` also contains the languages of descriptions and candidates.
    assert_eq!(shards.passage_languages, [de, es].into());
    assert_eq!(shards.languages, [de, en, es, language("zh")].into());
    let baseline = FrequencyBaseline::Entity.score_all(&shards, &ProbeConfig::default()).unwrap();
    assert_eq!(baseline.xep.unwrap().all.accuracy, 100.0);
    assert!(baseline.xep_seen.is_none() && !shards.probe.is_empty());
    // The error names a changed file of the probe.
    let file = path.join("probe/candidates.jsonl.gz");
    std::fs::write(&file, "").unwrap();
    let error = MentionShards::open(&path).err().unwrap().to_string();
    assert!(error.contains("candidates.jsonl.gz: changed since it was prepared"), "{error}");
}

#[test]
fn data_without_a_probe_has_no_queries() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mentions.jsonl");
    let line = serde_json::to_string(&mention("Q1", ["de", "en"])).unwrap();
    std::fs::write(&path, line + "\n").unwrap();
    for path in [path.as_path(), folder.path()] {
        let shards = MentionShards::open(path).unwrap();
        assert!(shards.probe.is_empty() && shards.trained_pairs.is_empty());
        let config = ProbeConfig::default();
        let baseline = FrequencyBaseline::Entity.score_all(&shards, &config).unwrap();
        assert_eq!(baseline, ProbeScores::default());
    }
}

#[test]
fn queries_and_training_lines_share_relation_indices() {
    let example = |relation: u32, relation_id: &str| EntailmentExample {
        fact: relation,
        subject: "Q1".into(),
        relation_id: relation_id.into(),
        relation,
        object: "Q2".into(),
        subject_language: language("de"),
        subject_ids: vec![0, 7, 2],
        object_language: language("en"),
        object_ids: vec![0, 8, 2],
    };
    let folder = tempfile::tempdir().unwrap();
    let open = |name: &str, query: EntailmentExample| {
        let files = [
            ("train/triples", to_json(&[example(0, "P1")])),
            ("probe/unseen-triples", to_json(&[query])),
            ("probe/candidates", to_json(&[candidate("Q2", "en")])),
        ];
        prepare(&folder.path().join(name), &files);
        EntailmentShards::open(folder.path().join(name))
    };
    let shards = open("good", example(2, "P3")).unwrap();
    assert_eq!(shards.relations, ["P1", "", "P3"]);
    assert_eq!(shards.probe.unseen_triples.len(), 1);
    let error = open("bad", example(0, "P2")).err().unwrap().to_string();
    assert!(error.contains("relation 0 is P1, but was P2"), "{error}");
}
