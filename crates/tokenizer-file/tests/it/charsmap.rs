//! Tests of damaged character tables, which `tokenizers` would read out of bounds.
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
    let n_units = u32::from_le_bytes(table[..4].try_into().unwrap()) as usize / 4;
    // Wrong lengths of the table, a transition out of the table, a value past the end of the texts,
    // texts that are not UTF-8, a table without units, and truncated data.
    let with_bytes = |offset: usize, bytes: &[u8]| {
        let mut table = table.clone();
        table[offset..offset + bytes.len()].copy_from_slice(bytes);
        table
    };
    let unit_at = |index: usize| {
        let bytes = &table[4 + 4 * index..8 + 4 * index];
        u32::from_le_bytes(bytes.try_into().unwrap())
    };
    let value_index = (1..n_units).find(|&index| unit_at(index) >> 31 == 1).unwrap();
    for damaged_table in [
        with_bytes(0, &u32::MAX.to_le_bytes()),
        with_bytes(0, &u32::try_from(table.len()).unwrap().to_le_bytes()),
        with_bytes(0, &6u32.to_le_bytes()),
        with_bytes(4, &(u32::MAX >> 1).to_le_bytes()),
        with_bytes(4 + 4 * value_index, &u32::MAX.to_le_bytes()),
        with_bytes(4 + 4 * n_units, b"\xff"),
        0u32.to_le_bytes().to_vec(),
        vec![0; 3],
        Vec::new(),
    ] {
        let error = read_with(&damaged_table).unwrap_err().to_string();
        assert!(error.contains("its precompiled_charsmap is damaged"), "{error}");
    }
    // Without their zero terminators, all replacement texts of the table form a single text, so one
    // character expands to 20,000 characters.
    let mut joined_texts = table.clone();
    for byte in &mut joined_texts[4 + 4 * n_units..] {
        *byte = if *byte == 0 { b'e' } else { *byte };
    }
    let error = read_with(&joined_texts).unwrap_err().to_string();
    assert!(error.contains("expand one character to") && error.contains("at most 1000"), "{error}");
}
