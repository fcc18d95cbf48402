//! Damaged character tables, which `tokenizers` would read out of bounds.
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokenizer_file::read;

#[test]
fn damaged_character_tables_are_errors() {
    let text = fs::read_to_string(testkit::fixture("tokenizer.json")).unwrap();
    let mut json: Value = serde_json::from_str(&text).unwrap();
    let packed = json["normalizer"]["normalizers"][0]["precompiled_charsmap"].as_str().unwrap();
    let table = STANDARD.decode(packed).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut read_with = |table: &[u8]| {
        json["normalizer"] = json!({"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": STANDARD.encode(table)}
        ]});
        fs::write(&path, json.to_string()).unwrap();
        read(&path)
    };
    assert!(read_with(&table).is_ok());
    let units = u32::from_le_bytes(table[..4].try_into().unwrap()) as usize / 4;
    // Wrong lengths of the table, a transition out of the table, a value past the end of the texts,
    // texts that are not UTF-8, a table without units, and truncated data.
    let changed = |offset: usize, bytes: &[u8]| {
        let mut table = table.clone();
        table[offset..offset + bytes.len()].copy_from_slice(bytes);
        table
    };
    let unit = |number: usize| {
        let bytes = &table[4 + 4 * number..8 + 4 * number];
        u32::from_le_bytes(bytes.try_into().unwrap())
    };
    let value = (1..units).find(|&number| unit(number) >> 31 == 1).unwrap();
    for wrong in [
        changed(0, &u32::MAX.to_le_bytes()),
        changed(0, &u32::try_from(table.len()).unwrap().to_le_bytes()),
        changed(0, &6u32.to_le_bytes()),
        changed(4, &(u32::MAX >> 1).to_le_bytes()),
        changed(4 + 4 * value, &u32::MAX.to_le_bytes()),
        changed(4 + 4 * units, b"\xff"),
        0u32.to_le_bytes().to_vec(),
        vec![0; 3],
        Vec::new(),
    ] {
        let error = read_with(&wrong).unwrap_err().to_string();
        assert!(error.contains("its precompiled_charsmap is damaged"), "{error}");
    }
    // All texts joined into one, so that one character is replaced by 20,000 characters.
    let mut one_text = table.clone();
    for byte in &mut one_text[4 + 4 * units..] {
        *byte = if *byte == 0 { b'e' } else { *byte };
    }
    let error = read_with(&one_text).unwrap_err().to_string();
    assert!(error.contains("expand one character to") && error.contains("at most 1000"), "{error}");
}
