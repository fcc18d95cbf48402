//! Tests of the transformer subfolder in sentence-transformers model folders.
use std::fs;

use tokenizer_file::{Error, model_folder, read};

use crate::folder::folder_of;

const MODULES_JSON: &str = r#"[{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]"#;

#[test]
fn the_subfolder_of_the_transformer_module_is_found() {
    let root = folder_of(&[("modules.json", MODULES_JSON.as_bytes())]);
    let message = model_folder(root.path()).unwrap_err().to_string();
    assert!(message.contains("modules.json") && message.contains("copy the whole"), "{message}");
    let subfolder = root.path().join("0_Transformer");
    fs::create_dir(&subfolder).unwrap();
    assert_eq!(model_folder(root.path()).unwrap(), subfolder);
    fs::copy(testkit::fixture("tokenizer.json"), subfolder.join("tokenizer.json")).unwrap();
    assert_eq!(read(root.path()).unwrap().get_vocab_size(true), 8192);
}

#[test]
fn without_a_subfolder_the_folder_itself_is_used() {
    let no_transformer = MODULES_JSON.replace("models.Transformer", "models.BoW");
    let same_folder = MODULES_JSON.replace("0_Transformer", "");
    for list in [&*no_transformer, &same_folder, "[]"] {
        let root = folder_of(&[("modules.json", list.as_bytes())]);
        assert_eq!(model_folder(root.path()).unwrap(), root.path());
    }
    let empty = folder_of(&[]);
    assert_eq!(model_folder(empty.path()).unwrap(), empty.path());
    for list in ["{", r#"[{"path": 1, "type": "a"}]"#, r#"[{"type": "a"}]"#] {
        let error =
            model_folder(folder_of(&[("modules.json", list.as_bytes())]).path()).unwrap_err();
        assert!(matches!(error, Error::Content { .. }), "{error}");
    }
}
