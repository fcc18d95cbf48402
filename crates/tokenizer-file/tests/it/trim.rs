//! Tests that trimming a vocabulary does not change the tokens of texts whose tokens are in use.
use std::collections::BTreeSet;
use std::path::Path;

use proptest::prelude::*;
use testkit::fixture;
use tokenizer_file::{Layout, parse, trim};
use tokenizers::Tokenizer;

const FILES: [&str; 4] =
    ["tokenizer.json", "wordpiece.json", "byte_level.json", "byte_fallback.json"];

const WORDS: [&str; 12] = [
    "Lima",
    "capital",
    "Peru",
    "Hauptstadt",
    "利马是首都",
    "राजधानी",
    "عاصمة",
    "Việt",
    "1872",
    "(a–b)",
    "😀",
    "the",
];

fn read(file: &str) -> (String, Tokenizer) {
    let path = fixture(file);
    let json = std::fs::read_to_string(&path).unwrap();
    let tokenizer = parse(&json, &path).unwrap();
    (json, tokenizer)
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, false).unwrap().get_ids().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(testkit::case_count(24)))]

    #[test]
    fn trimming_preserves_the_tokens_of_texts(
        file in prop::sample::select(FILES.to_vec()),
        texts in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(prop::sample::select(WORDS.to_vec()), 0..6)
                    .prop_map(|words| words.join(" ")),
                any::<String>(),
            ],
            1..6,
        ),
    ) {
        let (json, before) = read(file);
        let used: BTreeSet<u32> = texts.iter().flat_map(|text| ids(&before, text)).collect();
        let trimmed = trim(&json, &used).unwrap();
        let after = parse(&trimmed.json, Path::new(file)).unwrap();
        prop_assert_eq!(after.get_vocab_size(true), trimmed.former_ids.len());
        for text in &texts {
            let former: Vec<u32> = ids(&after, text)
                .iter()
                .map(|&id| trimmed.former_ids[id as usize])
                .collect();
            prop_assert_eq!(former, ids(&before, text));
        }
    }
}

#[test]
fn special_tokens_have_their_new_ids_everywhere() {
    for file in FILES {
        let (json, before) = read(file);
        let trimmed = trim(&json, &BTreeSet::new()).unwrap();
        let after = parse(&trimmed.json, Path::new(file)).unwrap();
        assert!(trimmed.former_ids.len() < before.get_vocab_size(true), "{file}");
        assert!(trimmed.former_ids.is_sorted());
        let (old, new) = (Layout::of(&before).unwrap(), Layout::of(&after).unwrap());
        let former = |id: u32| trimmed.former_ids[id as usize];
        assert_eq!(former(new.before()), old.before(), "{file}");
        assert_eq!(former(new.after()), old.after(), "{file}");
        let between: Vec<u32> = new.between().unwrap().iter().map(|&id| former(id)).collect();
        assert_eq!(between, old.between().unwrap(), "{file}");
        assert_eq!(new.pad().map(former), old.pad(), "{file}");
        assert_eq!(new.mask().map(former), old.mask(), "{file}");
        assert_eq!(new.unknown().map(former), old.unknown(), "{file}");
        for (token, id) in after.get_vocab(true) {
            assert_eq!(before.id_to_token(former(id)), Some(token), "{file}");
        }
    }
}

#[test]
fn unsupported_models_and_damaged_files_are_errors() {
    let trim_error = |json: &str| trim(json, &BTreeSet::new()).unwrap_err();
    assert!(trim_error("{").contains("EOF"));
    let word_level = r#"{"model": {"type": "WordLevel", "vocab": {}}}"#;
    assert_eq!(
        trim_error(word_level),
        "model.type: expected Unigram, WordPiece or BPE, found WordLevel"
    );
    let (json, _) = read("byte_level.json");
    let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
    file["model"]["dropout"] = 0.1.into();
    assert_eq!(trim_error(&file.to_string()), "model.dropout: expected none, found 0.1");
    let no_vocabulary = r#"{"model": {"type": "BPE", "merges": []}}"#;
    assert!(trim_error(no_vocabulary).starts_with("model.vocab: expected an object"));
    let unknown_token = r#"{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": ["a b"]}}"#;
    assert_eq!(trim_error(unknown_token), "model.merges: \"b\" is not in the vocabulary");
    let no_list = r#"{"model": {"type": "Unigram", "vocab": {"a": 0}}}"#;
    assert!(trim_error(no_list).starts_with("model.vocab: expected a list"));
    let (json, _) = read("tokenizer.json");
    let mut file: serde_json::Value = serde_json::from_str(&json).unwrap();
    file["model"]["vocab"][7] = "x".into();
    assert!(
        trim_error(&file.to_string()).starts_with("model.vocab: expected a token and its score")
    );
}
