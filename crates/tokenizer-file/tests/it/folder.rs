//! Tests of the selection of a folder's tokenizer file.
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokenizer_file::{Error, find, read};

const MODEL_FILE: &str = "sentencepiece.bpe.model";

pub(crate) fn folder_of(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn tokenizer_files_are_found_in_order_of_preference() {
    let json = fs::read(testkit::fixture("byte_fallback.json")).unwrap();
    let model = fs::read(testkit::fixture(MODEL_FILE)).unwrap();
    // tokenizer.json takes precedence, even if one of the files is damaged.
    let both_files = folder_of(&[("tokenizer.json", &json), (MODEL_FILE, b"no model")]);
    assert_eq!(find(both_files.path()).unwrap(), both_files.path().join("tokenizer.json"));
    assert!(read(both_files.path()).unwrap().token_to_id("<bos>").is_some());
    let damaged = folder_of(&[("tokenizer.json", b"{}"), (MODEL_FILE, &model)]);
    let error = read(damaged.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: not a Hugging Face tokenizer.json"), "{error}");
    // The SentencePiece model is read if it is the only supported file, or if its path is given.
    let model_only = folder_of(&[(MODEL_FILE, &model), ("vocab.txt", b"")]);
    assert_eq!(read(model_only.path()).unwrap().get_vocab_size(true), 8192);
    assert_eq!(read(model_only.path().join(MODEL_FILE)).unwrap().get_vocab_size(true), 8192);
    // CamemBERT's SentencePiece model has the file name of XLM-R's, but different ids.
    let config = br#"{"model_type": "camembert"}"#;
    let camembert = folder_of(&[(MODEL_FILE, &model), ("config.json", config)]);
    let error = read(camembert.path()).unwrap_err().to_string();
    assert!(error.contains("CamemBERT numbers the pieces"), "{error}");
    let damaged = folder_of(&[(MODEL_FILE, &model), ("config.json", b"{")]);
    let error = read(damaged.path()).unwrap_err().to_string();
    assert!(error.contains("config.json: "), "{error}");
    let camembert_with_json =
        folder_of(&[("tokenizer.json", &json), (MODEL_FILE, &model), ("config.json", config)]);
    assert_eq!(
        find(camembert_with_json.path()).unwrap(),
        camembert_with_json.path().join("tokenizer.json")
    );
    // A folder without a supported file is an error.
    let expect_error = |files: &[(&str, &[u8])], expected: &str| {
        let folder = folder_of(files);
        let error = find(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
        let error = error.to_string();
        let name = folder.path().display().to_string();
        assert!(error.contains(&name) && error.lines().count() == 1, "{error}");
        assert!(
            error.contains(&format!("none of tokenizer.json, {MODEL_FILE}, spm.model")),
            "{error}"
        );
        assert!(error.contains(expected), "{error} lacks {expected}");
    };
    expect_error(&[], "copy one of them");
    expect_error(&[("config.json", b"{}")], "copy one of them");
    for unsupported in ["vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"] {
        expect_error(
            &[(unsupported, b"")],
            &format!("but {unsupported}; create a tokenizer.json with transformers"),
        );
    }
    let error = read(Path::new("no-such").join(MODEL_FILE)).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn endless_files_and_dangling_links_are_errors() {
    // A dangling link is reported as a missing file, not as a folder without a tokenizer.
    for (target, name, expected) in [
        ("/dev/zero", MODEL_FILE, "bpe.model: it contains more than 32 MiB"),
        ("/dev/zero", "tokenizer.json", "tokenizer.json: it contains more than 256 MiB"),
        ("gone", "tokenizer.json", "tokenizer.json: No such file"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}
