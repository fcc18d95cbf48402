//! Tests of segment ids, and of folders with tokenizers.
use std::path::{Path, PathBuf};

use serde_json::json;
use tch::{Device, Tensor};
use tempfile::TempDir;
use torch_ext::Precision;
use xlmr_model::{
    Architecture, Config, Error, Head, Inputs, LoadOptions, LoadReport, Model, Pretrained,
};

use crate::common::read_json;

fn to_rows(tensor: &Tensor) -> Vec<Vec<i64>> {
    Vec::<Vec<i64>>::try_from(tensor).unwrap()
}

#[test]
fn segment_ids_are_padded_to_the_batch() {
    let inputs = Inputs::from_rows(&[&[0, 5, 2, 6, 2], &[0, 2]], 1).unwrap();
    let inputs = inputs.with_token_type_ids(&[&[0, 0, 0, 1], &[0, 1]]).unwrap();
    let expected = [[0, 0, 0, 1, 0], [0, 1, 0, 0, 0]];
    assert_eq!(to_rows(&inputs.token_type_ids.unwrap()), expected);
}

#[test]
fn invalid_segment_ids_are_rejected() {
    let inputs = || Inputs::from_rows(&[&[0, 5, 2], &[0, 2]], 1).unwrap();
    for invalid_rows in [vec![[0u32; 3].as_slice()], vec![&[0; 4], &[0; 2]]] {
        let error = inputs().with_token_type_ids(&invalid_rows).unwrap_err();
        assert!(matches!(error, Error::Input { argument: "token_type_ids", .. }), "{error}");
    }
    assert_eq!(Inputs::from_rows(&[], 1).unwrap().input_ids.size(), [0, 0]);
}

#[test]
fn a_folder_is_saved_with_an_identical_tokenizer() {
    let (_root, from, to) = new_folders();
    load(&from).unwrap().save(&to, Head::Span).unwrap();
    for file in ["tokenizer.json", "model.safetensors", "config.json"] {
        assert_eq!(std::fs::read(from.join(file)).unwrap(), std::fs::read(to.join(file)).unwrap());
    }
}

#[test]
fn a_loaded_model_uses_the_tokenizers_padding() {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    let config = Config { architecture: Architecture::Bert, pad_token_id: 0, ..Config::tiny(8192) };
    Model::new(&config, &[], Device::Cpu, 3).unwrap().save(&from, Head::None).unwrap();
    std::fs::copy(testkit::fixture("tokenizer.json"), from.join("tokenizer.json")).unwrap();
    let load = |folder| Pretrained::load(folder, &[], Device::Cpu, LoadOptions::default()).unwrap();
    let (loaded, report) = load(&from);
    assert_eq!(report, LoadReport::default());
    assert_eq!(loaded.notes.len(), 1);
    assert_eq!(loaded.model.config(), &Config { pad_token_id: 1, ..read_config(&from) });

    // The hidden states of tokens do not depend on the id of the padding.
    let short_row = [0, 9, 2].as_slice();
    let hidden = |pad| {
        let inputs = Inputs::from_rows(&[&[0, 7, 8, 9, 2], short_row], pad).unwrap();
        loaded.model.encode(&inputs, false).unwrap().get(1).narrow(0, 0, 3)
    };
    let single = loaded.model.encode(&Inputs::from_rows(&[short_row], 1).unwrap(), false).unwrap();
    for pad in [0, 1] {
        testkit::assert_close("hidden states", &hidden(pad), &single.get(0), 1e-6);
    }

    loaded.save(&to, Head::None).unwrap();
    assert_eq!(read_config(&to).pad_token_id, 1);
    assert!(load(&to).0.notes.is_empty());
}

fn read_config(folder: &Path) -> Config {
    Config::from_file(folder.join("config.json")).unwrap()
}

#[test]
fn load_trained_accepts_only_models_of_the_requested_class() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path());
    let heads = [Head::MaskedLm, Head::Span];
    let model = Model::new(&read_config(folder.path()), &heads, Device::Cpu, 3).unwrap();
    let load = || Pretrained::load_trained(folder.path(), Head::Span, Device::Cpu, Precision::F32);
    model.save(folder.path(), Head::Span).unwrap();
    assert!(load().is_ok());
    // The span head's weights are in heads.safetensors, but config.json names the class of another
    // head.
    model.save(folder.path(), Head::MaskedLm).unwrap();
    let error = load().unwrap_err();
    assert!(matches!(error, Error::Untrained { head: "span", .. }), "{error}");
    assert!(error.to_string().contains("names XLMRobertaForMaskedLM; fine-tune"), "{error}");
    // config.json names the correct class, but the span head's weights are missing.
    std::fs::remove_file(folder.path().join("heads.safetensors")).unwrap();
    let path = folder.path().join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("ForMaskedLM", "ForQuestionAnswering")).unwrap();
    let error = load().unwrap_err().to_string();
    assert!(error.contains("qa_outputs.weight"), "{error}");
}

/// Writes a model and the `tokenizer.json` of the test fixtures, without other tokenizer files.
fn write_folder(folder: &Path) {
    let tokenizer = testkit::fixture("tokenizer.json");
    let vocabulary = tokenizers::Tokenizer::from_file(&tokenizer).unwrap().get_vocab_size(true);
    let config = Config::tiny(i64::try_from(vocabulary).unwrap());
    let model = Model::new(&config, &[Head::Span], Device::Cpu, 3).unwrap();
    model.save(folder, Head::Span).unwrap();
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
}

fn load(folder: &Path) -> Result<Pretrained, Error> {
    Ok(Pretrained::load(folder, &[Head::Span], Device::Cpu, LoadOptions::default())?.0)
}

/// Creates a temporary folder with a model in `from`; also returns the path of `to`.
fn new_folders() -> (TempDir, PathBuf, PathBuf) {
    let root = tempfile::tempdir().unwrap();
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    write_folder(&from);
    (root, from, to)
}

#[test]
fn sentencepiece_models_are_converted_to_tokenizer_json() {
    let (_root, from, to) = new_folders();
    std::fs::remove_file(from.join("tokenizer.json")).unwrap();
    let error = load(&from).unwrap_err().to_string();
    assert!(
        error.contains("none of tokenizer.json, sentencepiece.bpe.model, spm.model"),
        "{error}"
    );
    let model = "sentencepiece.bpe.model";
    std::fs::copy(testkit::fixture(model), from.join(model)).unwrap();
    let user_config = r#"{"model_max_length": 510}"#;
    std::fs::write(from.join("tokenizer_config.json"), user_config).unwrap();
    load(&from).unwrap().save(&to, Head::Span).unwrap();
    assert_eq!(
        read_json(&to.join("tokenizer.json")),
        read_json(&testkit::fixture("tokenizer.json"))
    );
    for name in [model, "tokenizer_config.json"] {
        let [before, after] = [&from, &to].map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert_eq!(before, after, "{name}");
    }
    // The folder now has tokenizer.json and the SentencePiece model; saving it again changes
    // nothing.
    let before = std::fs::read(to.join("tokenizer.json")).unwrap();
    load(&to).unwrap().save(&to, Head::Span).unwrap();
    assert_eq!(before, std::fs::read(to.join("tokenizer.json")).unwrap());
    let text = "Ein  Text <mask>.";
    let ids = |folder| xlmr_model::read_tokenizer(folder).unwrap().encode(text, true).unwrap();
    assert_eq!(ids(&from).get_ids(), ids(&to).get_ids());
}

#[test]
fn a_saved_tokenizer_json_has_a_post_processor() {
    let (_root, from, to) = new_folders();
    let ids = |folder| {
        let tokenizer = xlmr_model::read_tokenizer(folder).unwrap();
        tokenizer.encode(("Ein  Text <mask>.", "Noch einer."), true).unwrap().get_ids().to_vec()
    };
    let original_ids = ids(&from);
    let mut json = read_json(&from.join("tokenizer.json"));
    json["post_processor"] = serde_json::Value::Null;
    std::fs::write(from.join("tokenizer.json"), json.to_string()).unwrap();
    assert_ne!(ids(&from), original_ids);
    load(&from).unwrap().save(&to, Head::Span).unwrap();
    assert_eq!(ids(&to), original_ids);
}

#[test]
fn files_next_to_a_tokenizer_are_copied() {
    let (root, from, to) = new_folders();
    // One file is a symbolic link, as in a snapshot of the Hugging Face hub.
    std::fs::write(root.path().join("blob"), b"pieces\0\xff").unwrap();
    std::os::unix::fs::symlink("../blob", from.join("sentencepiece.bpe.model")).unwrap();
    let user_config =
        r#"{"model_max_length": 512,  "mask_token": {"content": "<m>"}, "pad_token": null}"#;
    for (name, text) in [
        ("tokenizer_config.json", user_config),
        ("added_tokens.json", "{}"),
        ("other.txt", "not a part"),
    ] {
        std::fs::write(from.join(name), text).unwrap();
    }
    std::fs::create_dir(&to).unwrap();
    std::fs::write(to.join("vocab.txt"), "of an earlier model").unwrap();
    std::fs::write(to.join("notes.txt"), "mine").unwrap();
    load(&from).unwrap().save(&to, Head::Span).unwrap();
    for name in ["tokenizer_config.json", "added_tokens.json", "sentencepiece.bpe.model"] {
        let [before, after] = [&from, &to].map(|folder| std::fs::read(folder.join(name)).unwrap());
        assert_eq!(before, after, "{name}");
        assert!(to.join(name).symlink_metadata().unwrap().is_file());
    }
    let names = ["vocab.txt", "other.txt", "notes.txt"].map(|name| to.join(name).exists());
    assert_eq!(names, [false, false, true]);
    // `special_tokens_map.json` is created. Its tokens are the tokenizer's special tokens, except
    // that values in the original `tokenizer_config.json` take precedence.
    let special_tokens = read_json(&to.join("special_tokens_map.json"));
    assert_eq!(
        special_tokens,
        json!({"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>",
            "sep_token": "</s>", "unk_token": "<unk>", "mask_token": "<m>"})
    );
    // Saving another model to `to` removes the tokenizer files of the earlier model. Saving a model
    // to its own folder changes nothing.
    let plain_folder = root.path().join("plain");
    write_folder(&plain_folder);
    load(&plain_folder).unwrap().save(&to, Head::Span).unwrap();
    assert!(!to.join("added_tokens.json").exists());
    assert!(!to.join("sentencepiece.bpe.model").exists());
    let generated = ["tokenizer_config.json", "special_tokens_map.json"].map(|name| to.join(name));
    let before = generated.each_ref().map(|path| std::fs::read(path).unwrap());
    load(&to).unwrap().save(&to, Head::Span).unwrap();
    assert_eq!(before, generated.each_ref().map(|path| std::fs::read(path).unwrap()));
    let config = read_json(&generated[0]);
    assert_eq!(config["tokenizer_class"], "PreTrainedTokenizerFast");
    assert_eq!(config["model_max_length"], 512);
    assert_eq!(config["model_input_names"], json!(["input_ids", "attention_mask"]));
    assert_eq!((&config["mask_token"], &config["pad_token"]), (&"<mask>".into(), &"<pad>".into()));
}

#[test]
fn third_party_code_is_not_copied() {
    let (_root, from, to) = new_folders();
    let config = r#"{"auto_map": {"AutoTokenizer": ["a.B", null]}, "do_lower_case": false}"#;
    std::fs::write(from.join("tokenizer_config.json"), config).unwrap();
    load(&from).unwrap().save(&to, Head::Span).unwrap();
    let config = read_json(&to.join("tokenizer_config.json"));
    assert_eq!(config, json!({"do_lower_case": false}));
}

#[test]
fn invalid_files_next_to_a_tokenizer_are_reported_on_loading() {
    let root = tempfile::tempdir().unwrap();
    write_folder(root.path());
    let assert_error = |name: &str, part: &str| {
        let path = root.path().join(name);
        let error = load(root.path()).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains(part), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        if path.is_dir() { std::fs::remove_dir(path) } else { std::fs::remove_file(path) }.unwrap();
    };
    let path = |name: &str| root.path().join(name);
    std::fs::create_dir(path("vocab.txt")).unwrap();
    assert_error("vocab.txt", "expected a file");
    std::os::unix::fs::symlink("/dev/zero", path("vocab.txt")).unwrap();
    assert_error("vocab.txt", "expected a file");
    std::os::unix::fs::symlink("nowhere", path("added_tokens.json")).unwrap();
    assert_error("added_tokens.json", "No such file");
    let large_file = std::fs::File::create(path("sentencepiece.bpe.model")).unwrap();
    large_file.set_len((32 << 20) + 1).unwrap();
    assert_error("sentencepiece.bpe.model", "longer than 32 MiB");
    std::fs::write(path("tokenizer_config.json"), "[]").unwrap();
    assert_error("tokenizer_config.json", "expected a JSON object");
    assert!(load(root.path()).is_ok());
}
