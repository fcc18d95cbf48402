//! Tests that damaged tokenizers and expanding normalisers are errors.
use std::fs;

use serde_json::{Value, json};
use tokenizer_file::{Error, read};

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let file_text = fs::read_to_string(testkit::fixture("tokenizer.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for percent in [0, 1, 10, 50, 90, 99] {
        fs::write(&path, &file_text.as_bytes()[..file_text.len() * percent / 100]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, Error::Content { .. }), "{percent} %: {error}");
        assert!(error.to_string().contains("tokenizer.json: not a"), "{error}");
    }
    // `tokenizers` panics for a truncated character table (base64).
    let (before, rest) = file_text.split_once("\"precompiled_charsmap\": \"").unwrap();
    let (packed, after) = rest.split_once('"').unwrap();
    for length in [0, 4, 100, packed.len() / 2 / 4 * 4] {
        let truncated = &packed[..length];
        fs::write(&path, format!("{before}\"precompiled_charsmap\": \"{truncated}\"{after}"))
            .unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: not a"), "{error}");
    }
    fs::write(&path, &file_text).unwrap();
    assert!(read(folder.path()).unwrap().get_vocab_size(true) > 100);
    assert!(matches!(read(folder.path().join("none")), Err(Error::Read { .. })));
}

#[test]
fn normalisers_that_expand_texts_too_much_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let file_text = fs::read_to_string(testkit::fixture("byte_fallback.json")).unwrap();
    let mut json: Value = serde_json::from_str(&file_text).unwrap();
    let mut read_with = |normalizer: Value| {
        json["normalizer"] = normalizer;
        fs::write(&path, json.to_string()).unwrap();
        read(&path).map_err(|error| error.to_string())
    };
    let replace = |pattern: Value, content: String| json!({"type": "Replace", "pattern": pattern, "content": content});
    let literal = |text: &str| json!({"String": text});
    let regex = |pattern: &str| json!({"Regex": pattern});
    let sequence = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
    let (space, long_text) = ("▁".to_owned(), "e".repeat(1001));
    let doubling = replace(literal("e"), "ee".into());
    let insertion = replace(regex("x*"), "y".into());
    for normalizer in [
        replace(literal("e"), long_text.clone()),
        replace(regex("[a-z]"), long_text.clone()),
        replace(literal(""), "e".repeat(1000)),
        json!({"type": "Prepend", "prepend": long_text}),
        // Each replacement is short, but all replacements together are not.
        sequence(vec![doubling.clone(); 10]),
        sequence(vec![sequence(vec![doubling.clone(); 5]), sequence(vec![doubling.clone(); 5])]),
        sequence(vec![insertion; 10]),
        // The format of old files, without types.
        json!({"pattern": literal("e"), "content": long_text}),
    ] {
        let error = read_with(normalizer.clone()).unwrap_err();
        assert!(error.contains("tokenizer.json") && error.contains("at most 1000"), "{error}");
        assert_eq!(error.lines().count(), 1);
    }
    let common_steps = vec![
        json!({"type": "Prepend", "prepend": space}),
        replace(literal(" "), space.clone()),
        replace(regex(" {2,}"), " ".into()),
        replace(regex(r"\s+"), " ".into()),
        replace(literal("``"), "\"".into()),
        doubling,
        json!({"type": "NFKC"}),
    ];
    let same_length_replacement = replace(literal(&long_text), long_text.clone());
    for normalizer in [
        Value::Null,
        sequence([common_steps.clone(), common_steps].concat()),
        same_length_replacement,
    ] {
        assert!(read_with(normalizer.clone()).is_ok(), "{normalizer}");
    }
}
