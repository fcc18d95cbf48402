//! Damaged tokenizers are errors.
#![allow(clippy::unwrap_used)] // helpers of tests
use std::fs;

use tokenizer_file::{TokenizerFileError, read};

#[test]
fn damaged_files_are_errors_that_name_the_file() {
    let whole = fs::read_to_string(testkit::fixture("tokenizer.json")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    for part in [0, 1, 10, 50, 90, 99] {
        fs::write(&path, &whole.as_bytes()[..whole.len() * part / 100]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(error, TokenizerFileError::Content { .. }), "{part} %: {error}");
        assert!(error.to_string().contains("tokenizer.json: not a"), "{error}");
    }
    // The table of characters, which is packed, cut in the middle: `tokenizers` panics.
    let (before, rest) = whole.split_once("\"precompiled_charsmap\": \"").unwrap();
    let (packed, after) = rest.split_once('"').unwrap();
    for kept in [0, 4, 100, packed.len() / 2 / 4 * 4] {
        let kept = &packed[..kept];
        fs::write(&path, format!("{before}\"precompiled_charsmap\": \"{kept}\"{after}")).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("tokenizer.json: not a"), "{error}");
    }
    fs::write(&path, &whole).unwrap();
    assert!(read(folder.path()).unwrap().get_vocab_size(true) > 100);
    assert!(matches!(read(folder.path().join("none")), Err(TokenizerFileError::Read { .. })));
}
