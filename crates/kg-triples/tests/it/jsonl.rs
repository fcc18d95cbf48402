//! Tests of JSONL files of sequences: round trips and invalid files.

use std::fs;

use crate::common::{countries, language, line_error, read, tokenizer, unmasked_ids};
use kg_triples::jsonl::{self, JsonlReader, JsonlWriter};
use kg_triples::sequence::Role;
use kg_triples::{Error, MaskedEntity, Sequence, SequenceConfig, SequenceKind, build_sequences};
use tempfile::tempdir;

fn sequences() -> Vec<Sequence> {
    build_sequences(&countries(), ("en", "de"), &SequenceConfig::default(), &tokenizer()).unwrap().0
}

#[test]
fn one_line_is_one_object_with_the_documented_keys() {
    let sequence = Sequence {
        fact: 7,
        kind: SequenceKind::Mixed,
        languages: (language("en"), language("de")),
        input_ids: vec![0, 11, 12, 99, 99, 2],
        labels: vec![-100, -100, -100, 13, 14, -100],
        entities: vec![MaskedEntity {
            start: 3,
            end: 5,
            pieces: 2,
            role: Role::Tail,
            language: language("de"),
        }],
    };
    let dir = tempdir().unwrap();
    let path = dir.path().join("s.jsonl");
    jsonl::write(&path, [&sequence]).unwrap();
    let expected = concat!(
        r#"{"fact":7,"kind":"mixed","languages":["en","de"],"input_ids":[0,11,12,99,99,2],"#,
        r#""labels":[-100,-100,-100,13,14,-100],"#,
        r#""entities":[{"start":3,"end":5,"pieces":2,"role":"tail","language":"de"}]}"#,
        "\n"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), expected);
    assert_eq!(read::<Sequence>(&path), std::slice::from_ref(&sequence));
    assert_eq!(unmasked_ids(&sequence), [0, 11, 12, 13, 14, 2]);
}

#[test]
fn an_empty_output_does_not_replace_a_file() {
    let dir = tempdir().unwrap();
    let [full, empty] = ["full.jsonl", "empty.jsonl"].map(|name| dir.path().join(name));
    fs::write(&full, "old\n").unwrap();
    let error = jsonl::write::<Sequence>(&full, []).unwrap_err().to_string();
    assert!(error.contains("full.jsonl: no data"), "{error}");
    // If one of several files would be empty, no file is written.
    let mut writer = JsonlWriter::<Sequence>::create(&full).unwrap();
    writer.write(&sequences()[0]).unwrap();
    let writers = [writer, JsonlWriter::<Sequence>::create(&empty).unwrap()];
    let error = JsonlWriter::<Sequence>::finish_all(writers).unwrap_err().to_string();
    assert!(error.contains("empty.jsonl"), "{error}");
    assert_eq!(fs::read_to_string(&full).unwrap(), "old\n");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_truncated_gzip_file_is_one_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("s.jsonl.gz");
    jsonl::write(&path, &sequences()).unwrap();
    let bytes = fs::read(&path).unwrap();
    for length in [0, 5, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..length]).unwrap();
        let results: Vec<_> = JsonlReader::<Sequence>::open(&path).unwrap().collect();
        let errors = results.iter().filter(|result| result.is_err()).count();
        assert_eq!(errors, 1);
        let last = results.last().unwrap().as_ref().unwrap_err();
        assert!(matches!(last, Error::Truncated { .. }), "{length}: {last}");
        assert!(last.to_string().contains("s.jsonl.gz"), "{last}");
    }
}

#[test]
fn invalid_lines_are_reported() {
    let valid = serde_json::to_string(&sequences()[0]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&valid).unwrap();
    let changed_line = |key: &str, new: serde_json::Value| {
        let mut value = value.clone();
        value[key] = new;
        value.to_string()
    };
    let line_with_span = |start: usize, end: usize| {
        let mut value = value.clone();
        value["entities"][0]["start"] = start.into();
        value["entities"][0]["end"] = end.into();
        value.to_string()
    };
    let invalid_lines = [
        "{".to_owned(),
        "[]".to_owned(),
        valid.replace("\"fact\"", "\"fcat\""),
        changed_line("fact", (-1).into()),
        changed_line("languages", vec!["en", "not a language"].into()),
        changed_line("labels", vec![-100].into()),
        changed_line("entities", serde_json::json!([])),
        line_with_span(5, 2),
        line_with_span(0, 1_000_000),
        valid.replacen("-100", "-99", 1),
    ];
    for line in invalid_lines {
        line_error::<Sequence>(&valid, &line);
    }
    let missing = JsonlReader::<Sequence>::open("none.jsonl").err().unwrap();
    assert!(missing.to_string().contains("none.jsonl"), "{missing}");
}
