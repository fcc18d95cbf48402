//! Which file of a folder is read.
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use tokenizer_file::{Error, find, read};

const MODEL: &str = "sentencepiece.bpe.model";

pub(crate) fn folder(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

#[test]
fn the_file_of_a_folder() {
    let json = fs::read(testkit::fixture("byte_fallback.json")).unwrap();
    let model = fs::read(testkit::fixture(MODEL)).unwrap();
    // tokenizer.json comes first, even where the other is damaged, or where it is itself.
    let both = folder(&[("tokenizer.json", &json), (MODEL, b"no model")]);
    assert_eq!(find(both.path()).unwrap(), both.path().join("tokenizer.json"));
    assert!(read(both.path()).unwrap().token_to_id("<bos>").is_some());
    let damaged = folder(&[("tokenizer.json", b"{}"), (MODEL, &model)]);
    let error = read(damaged.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: not a Hugging Face tokenizer.json"), "{error}");
    // The SentencePiece model is read if it is the only tokenizer file, and also by its own path.
    let model_only = folder(&[(MODEL, &model), ("vocab.txt", b"")]);
    assert_eq!(read(model_only.path()).unwrap().get_vocab_size(true), 8192);
    assert_eq!(read(model_only.path().join(MODEL)).unwrap().get_vocab_size(true), 8192);
    // CamemBERT's has the same name and other numbers.
    let config = br#"{"model_type": "camembert"}"#;
    let camembert = folder(&[(MODEL, &model), ("config.json", config)]);
    let error = read(camembert.path()).unwrap_err().to_string();
    assert!(error.contains("CamemBERT numbers the pieces"), "{error}");
    let converted = folder(&[("tokenizer.json", &json), (MODEL, &model), ("config.json", config)]);
    assert_eq!(find(converted.path()).unwrap(), converted.path().join("tokenizer.json"));
    // Neither.
    let neither = |files: &[(&str, &[u8])], expected: &str| {
        let folder = folder(files);
        let error = find(folder.path()).unwrap_err();
        assert!(matches!(error, Error::Read { .. }), "{error}");
        let error = error.to_string();
        let name = folder.path().display().to_string();
        assert!(error.contains(&name) && error.lines().count() == 1, "{error}");
        assert!(error.contains(&format!("none of tokenizer.json, {MODEL}, spm.model")), "{error}");
        assert!(error.contains(expected), "{error} lacks {expected}");
    };
    neither(&[], "copy one of them");
    neither(&[("config.json", b"{}")], "copy one of them");
    for other in ["vocab.txt", "vocab.json", "spiece.model", "tokenizer.model"] {
        neither(&[(other, b"")], &format!("but {other}; transformers writes the tokenizer.json"));
    }
    let error = read(Path::new("no-such").join(MODEL)).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn links_and_models_without_an_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(MODEL);
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("bpe.model: it holds more than 32 MiB"), "{error}");
    // A link to nothing is a file that is missing, not a folder without one.
    std::os::unix::fs::symlink("gone", folder.path().join("tokenizer.json")).unwrap();
    let error = read(folder.path()).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json: No such file"), "{error}");
}
