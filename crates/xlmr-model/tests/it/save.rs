//! Tests that saved folders equal the stored folders, and that they can be loaded again.
use serde_json::json;
use tch::Device;
use torch_ext::TensorFile;
use xlmr_model::{Error, Head, Inputs, LoadReport, Model};

use crate::common::{
    SEQUENCE, assert_equal_parameters, case_folder, edit_json, ids, load_case, open_folder,
    read_json, read_stored, read_tensors, select_batch, small_config,
};

#[test]
fn sharded_bfloat16_becomes_one_float32_file_with_the_same_values() {
    let folder = tempfile::tempdir().unwrap();
    let model = load_case("mlm_sharded_bf16", &[Head::MaskedLm]);
    model.save(folder.path(), Head::MaskedLm).unwrap();
    let (reloaded, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    assert_eq!(report, LoadReport::default());
    assert_equal_parameters(&reloaded, &model);
    let mut expected = read_json(&case_folder("mlm_sharded_bf16").join("config.json"));
    expected["dtype"] = json!("float32");
    assert_eq!(read_json(&folder.path().join("config.json")), expected);
    let [reference, saved_tensors] = [case_folder("mlm").as_path(), folder.path()]
        .map(|folder| read_tensors(&folder.join("model.safetensors")));
    assert!(saved_tensors.keys().eq(reference.keys()));
}

#[test]
fn other_heads_are_saved_separately_and_removed_by_a_later_save() {
    let folder = tempfile::tempdir().unwrap();
    let heads = [Head::MaskedLm, Head::Span, Head::TokenClassification { labels: 4 }];
    let model = Model::new(&small_config(), &heads, Device::Cpu, 1).unwrap();
    model.save(folder.path(), Head::Span).unwrap();
    let saved = read_tensors(&folder.path().join("model.safetensors"));
    assert!(
        saved.keys().all(|name| name.starts_with("roberta.") || name.starts_with("qa_outputs"))
    );
    let (reloaded, report) = open_folder(folder.path(), &heads).unwrap();
    assert_eq!(report, LoadReport::default());
    assert_equal_parameters(&reloaded, &model);
    let (span, report) = open_folder(folder.path(), &[Head::Span]).unwrap();
    assert_eq!(report.ignored.len(), 7);
    assert!(report.unexpected.is_empty());
    span.save(folder.path(), Head::Span).unwrap();
    assert!(!folder.path().join("heads.safetensors").exists());
    assert!(matches!(span.save(folder.path(), Head::MaskedLm), Err(Error::NoHead { .. })));
}

#[test]
fn the_encoder_without_heads_has_keys_without_prefix() {
    let folder = tempfile::tempdir().unwrap();
    let model = load_case("qa", &[Head::Span]);
    model.save(folder.path(), Head::None).unwrap();
    let config = read_json(&folder.path().join("config.json"));
    assert_eq!(config["architectures"], json!(["XLMRobertaModel"]));
    let file = TensorFile::open(folder.path().join("model.safetensors")).unwrap();
    let is_bare = |name: &String| name.starts_with("embeddings.") || name.starts_with("encoder.");
    assert!(file.names().iter().all(is_bare));
    let (reloaded, report) = open_folder(folder.path(), &[Head::Span]).unwrap();
    assert_eq!(report, LoadReport::default());
    let inputs = read_stored("qa", "inputs.safetensors");
    let hidden = |model: &Model| model.encode(&select_batch(&inputs, "b1"), false).unwrap();
    assert!(hidden(&reloaded).equal(&hidden(&model)));
}

#[test]
fn untied_decoders_are_saved_and_loaded() {
    let mut config = small_config();
    config.tie_word_embeddings = false;
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(&config, &[Head::MaskedLm], Device::Cpu, 1).unwrap();
    model.save(folder.path(), Head::MaskedLm).unwrap();
    let written = read_tensors(&folder.path().join("model.safetensors"));
    let expected = [
        "lm_head.bias",
        "lm_head.decoder.bias",
        "lm_head.decoder.weight",
        "lm_head.dense.bias",
        "lm_head.dense.weight",
        "lm_head.layer_norm.bias",
        "lm_head.layer_norm.weight",
    ];
    assert!(written.into_keys().filter(|name| name.starts_with("lm_head")).eq(expected));
    let (reloaded, report) = open_folder(folder.path(), &[Head::MaskedLm]).unwrap();
    assert_eq!(report, LoadReport::default());
    let logits = |model: &Model| {
        model.mlm_logits(&model.encode(&Inputs::new(ids(2, 4)), false).unwrap()).unwrap()
    };
    assert!(logits(&reloaded).equal(&logits(&model)));
}

#[test]
fn other_files_and_unknown_keys_are_preserved() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tokenizer.json"), b"{}").unwrap();
    load_case("seqcls", &[SEQUENCE]).save(folder.path(), SEQUENCE).unwrap();
    edit_json(&folder.path().join("config.json"), |config| {
        config.insert("my_note".into(), json!({"seed": 3}));
    });
    let (reloaded, _) = open_folder(folder.path(), &[Head::Span]).unwrap();
    reloaded.save(folder.path(), Head::Span).unwrap();
    assert_eq!(read_json(&folder.path().join("config.json"))["my_note"], json!({"seed": 3}));
    let mut names: Vec<String> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.json"]);
}
