//! Tests of JSONL files of sequences: round trips and invalid files.

use std::fs;

use crate::common::{countries, read, tokenizer, unmasked_ids};
use kg_triples::jsonl::{self, JsonlReader, JsonlWriter};
use kg_triples::sequence::{IGNORE_INDEX, Role};
use kg_triples::{
    Error, Language, MaskedEntity, Sequence, SequenceConfig, SequenceKind, build_sequences,
};
use proptest::prelude::*;
use tempfile::tempdir;

fn sequences() -> Vec<Sequence> {
    build_sequences(&countries(), ("en", "de"), &SequenceConfig::default(), &tokenizer()).unwrap().0
}

#[test]
fn one_line_is_one_object_with_the_documented_keys() {
    let language = |code| Language::new(code).unwrap();
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
    assert!(error.contains("full.jsonl: nothing is left"), "{error}");
    // With several files, none is written.
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
    let good = serde_json::to_string(&sequences()[0]).unwrap();
    let value: serde_json::Value = serde_json::from_str(&good).unwrap();
    let change = |key: &str, new: serde_json::Value| {
        let mut value = value.clone();
        value[key] = new;
        value.to_string()
    };
    let labels = |text: &str| change("labels", serde_json::from_str(text).unwrap());
    let entity = |start: usize, end: usize| {
        let mut value = value.clone();
        value["entities"][0]["start"] = start.into();
        value["entities"][0]["end"] = end.into();
        value.to_string()
    };
    let invalid_lines = [
        "{".to_owned(),
        "[]".to_owned(),
        good.replace("\"fact\"", "\"fcat\""),
        change("fact", (-1).into()),
        change("languages", vec!["en", "not a language"].into()),
        labels("[-100]"),
        change("entities", serde_json::json!([])),
        entity(5, 2),
        entity(0, 1_000_000),
        good.replacen("-100", "-99", 1),
    ];
    let dir = tempdir().unwrap();
    let path = dir.path().join("s.jsonl");
    for line in invalid_lines {
        fs::write(&path, format!("{good}\n\n{line}\n{good}\n")).unwrap();
        let results: Vec<_> = JsonlReader::<Sequence>::open(&path).unwrap().collect();
        assert_eq!(results.len(), 2, "{line}");
        let error = results[1].as_ref().unwrap_err();
        assert!(matches!(error, Error::Json { line: 3, .. }), "{line}: {error}");
        assert!(error.to_string().contains("s.jsonl:3"), "{error}");
    }
    let missing = JsonlReader::<Sequence>::open(dir.path().join("none.jsonl")).err().unwrap();
    assert!(missing.to_string().contains("none.jsonl"), "{missing}");
}

prop_compose! {
    fn any_sequence()(
        fact: u32,
        kind in prop::sample::select(SequenceKind::ALL.to_vec()),
        codes in ("[a-z]{2,3}", "[a-z]{2}-[A-Z]{2}"),
        visible in prop::collection::vec(any::<u32>(), 0..6),
        masked in prop::collection::vec((any::<u32>(), any::<u32>()), 1..6),
        head: bool,
        pieces in 1usize..6,
    ) -> Sequence {
        let (i, j) = (Language::new(&codes.0).unwrap(), Language::new(&codes.1).unwrap());
        let (start, end) = (visible.len(), visible.len() + masked.len());
        let role = if head { Role::Head } else { Role::Tail };
        let mut labels = vec![IGNORE_INDEX; start];
        labels.extend(masked.iter().map(|(_, target)| i64::from(*target)));
        let mut input_ids = visible;
        input_ids.extend(masked.iter().map(|(input, _)| *input));
        let pieces = pieces.min(masked.len());
        let entities = vec![MaskedEntity { start, end, pieces, role, language: j }];
        Sequence { fact, kind, languages: (i, j), input_ids, labels, entities }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn written_sequences_are_read_back(sequences in prop::collection::vec(any_sequence(), 1..8), gzip: bool) {
        let dir = tempdir().unwrap();
        let path = dir.path().join(if gzip { "s.jsonl.gz" } else { "s.jsonl" });
        jsonl::write(&path, &sequences).unwrap();
        prop_assert_eq!(read::<Sequence>(&path), sequences);
    }
}
