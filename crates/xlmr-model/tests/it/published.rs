//! Tests that published model folders are read as in transformers; see
//! docs/reference/file-formats.md.
use std::fs;
use std::path::{Path, PathBuf};

use crate::adapters::{encode, small_configs};
use crate::common::{edit_json, edit_tensors, open_folder, read_json};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use xlmr_model::{Architecture, Config, Head, LoadReport, Model, Pretrained, Result};

/// Creates a small BERT with XLM-R's tokenizer and `rows` rows of token embeddings.
fn bert_folder(rows: i64) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        architecture: Architecture::Bert,
        hidden_size: 16,
        num_hidden_layers: 1,
        intermediate_size: 24,
        ..Config::tiny(rows)
    };
    Model::new(&config, &[], Device::Cpu, 3).unwrap().save(folder.path(), Head::None).unwrap();
    let tokenizer = testkit::fixture("tokenizer.json");
    fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    folder
}

fn load(folder: &Path) -> Result<(Pretrained, LoadReport)> {
    Pretrained::load(folder, &[], Device::Cpu, Default::default())
}

fn weights_path(folder: &Path) -> PathBuf {
    folder.join("model.safetensors")
}

/// Adds a prefix to the names of all tensors.
fn add_prefix(folder: &Path, prefix: &str) {
    edit_tensors(&weights_path(folder), |tensors| {
        let named = std::mem::take(tensors).into_iter();
        tensors.extend(named.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)));
    });
}

#[test]
fn extra_embedding_rows_are_loaded_and_missing_rows_are_an_error() {
    let (loaded, report) = load(bert_folder(8192 + 35).path()).unwrap();
    assert_eq!(loaded.model.word_embeddings().size(), [8227, 16]);
    assert_eq!(report, LoadReport::default());
    let message = load(bert_folder(8191).path()).unwrap_err().to_string();
    assert!(message.contains("\"<mask>\" has id 8191"), "{message}");
    assert!(message.contains("vocab_size = 8191"), "{message}");
}

#[test]
fn poolers_and_buffers_are_optional() {
    let zeros = || Tensor::zeros([16], (Kind::Float, Device::Cpu));
    let positions = || Tensor::arange(514, (Kind::Int64, Device::Cpu)).view([1, 514]);
    for prefix in ["", "bert."] {
        let folder = bert_folder(8192);
        let before = encode(&load(folder.path()).unwrap().0.model);
        add_prefix(folder.path(), prefix);
        edit_tensors(&weights_path(folder.path()), |tensors| {
            for (name, tensor) in [
                ("embeddings.position_ids", positions()),
                ("embeddings.token_type_ids", positions().zeros_like()),
                ("pooler.dense.bias", zeros()),
            ] {
                tensors.insert(format!("{prefix}{name}"), tensor);
            }
        });
        let (loaded, report) = load(folder.path()).unwrap();
        let ignored = vec!["bert.pooler.dense.bias".to_owned()];
        assert_eq!(report, LoadReport { ignored, ..LoadReport::default() });
        assert!(encode(&loaded.model).equal(&before));
    }
}

#[test]
fn rotary_buffers_are_not_reported() {
    let folder = tempfile::tempdir().unwrap();
    let euro =
        small_configs().into_iter().find(|c| matches!(c.architecture, Architecture::EuroBert(_)));
    let model = Model::new(&euro.unwrap(), &[], Device::Cpu, 3).unwrap();
    model.save(folder.path(), Head::None).unwrap();
    edit_tensors(&weights_path(folder.path()), |tensors| {
        tensors.insert("rotary_emb.inv_freq".into(), Tensor::from_slice(&[1f32, 0.1]));
    });
    assert_eq!(open_folder(folder.path(), &[]).unwrap().1, LoadReport::default());
}

#[test]
fn names_may_omit_the_prefix_of_the_architecture() {
    for config in small_configs() {
        let name = config.architecture.model_type();
        let folder = tempfile::tempdir().unwrap();
        let model = Model::new(&config, &[Head::MaskedLm], Device::Cpu, 3).unwrap();
        model.save(folder.path(), Head::MaskedLm).unwrap();
        let with_prefix = open_folder(folder.path(), &[]).unwrap().0;
        model.save(folder.path(), Head::None).unwrap();
        let (bare, report) = open_folder(folder.path(), &[]).unwrap();
        assert!(report.missing.is_empty() && report.unexpected.is_empty(), "{name}: {report:?}");
        assert!(encode(&bare).equal(&encode(&with_prefix)), "{name}");
        // transformers does not support this prefix: it would find no weights and initialise all of
        // them.
        model.save(folder.path(), Head::None).unwrap();
        add_prefix(folder.path(), "auto_model.");
        let error = open_folder(folder.path(), &[]).unwrap_err().to_string();
        assert!(error.contains("tensors of the encoder are missing"), "{name}: {error}");
    }
}

#[test]
fn folders_of_sentence_transformers_are_supported() {
    let module = |path: &str, class: &str| {
        let class = format!("sentence_transformers.{class}");
        json!({"idx": 0, "name": "0", "path": path, "type": class})
    };
    let module_list = |path: &str, class: &str| {
        json!([module(path, class), module("1_Pooling", "models.Pooling")]).to_string()
    };
    let root = tempfile::tempdir().unwrap();
    let subfolder = root.path().join("0_Transformer");
    fs::rename(bert_folder(8192).keep(), &subfolder).unwrap();
    fs::write(subfolder.join("tokenizer_config.json"), "{}").unwrap();
    // Older versions of sentence-transformers write a config.json with other contents next to
    // modules.json.
    fs::write(root.path().join("config.json"), r#"{"__version__": "0.2.5"}"#).unwrap();
    let modules = root.path().join("modules.json");
    fs::write(&modules, module_list("0_Transformer", "models.Transformer")).unwrap();
    let (loaded, _) = load(root.path()).unwrap();
    assert_eq!(loaded.model.config().hidden_size, 16);
    assert_eq!(Config::of_folder(root.path()).unwrap(), *loaded.model.config());
    assert!(xlmr_model::read_tokenizer(root.path()).is_ok());
    let saved_folder = tempfile::tempdir().unwrap();
    loaded.save(saved_folder.path(), Head::None).unwrap();
    assert_eq!(fs::read(saved_folder.path().join("tokenizer_config.json")).unwrap(), b"{}");

    // In newer folders, the transformer's files are next to `modules.json`. Version 5 of
    // sentence-transformers writes the second of these class paths.
    let flat_folder = bert_folder(8192);
    for class in ["models.Transformer", "base.modules.transformer.Transformer"] {
        fs::write(flat_folder.path().join("modules.json"), module_list("", class)).unwrap();
        assert!(load(flat_folder.path()).is_ok());
    }

    for (text, part) in [
        (module_list("../other", "models.Transformer"), "\"../other\""),
        (module_list("/", "models.Transformer"), "\"/\""),
        (module_list("2_Transformer", "models.Transformer"), "\"2_Transformer\""),
        ("{}".into(), "expected a sequence"),
    ] {
        fs::write(&modules, text).unwrap();
        for message in [
            Config::of_folder(root.path()).unwrap_err().to_string(),
            load(root.path()).unwrap_err().to_string(),
        ] {
            assert!(message.contains("modules.json: not the list of modules"), "{message}");
            assert!(message.contains(part), "{message}");
        }
    }
}

#[test]
fn half_precision_is_read_for_any_dtype_in_config_json() {
    for (key, kind, dtype) in
        [("torch_dtype", Kind::Half, "float16"), ("dtype", Kind::BFloat16, "bfloat16")]
    {
        let folder = bert_folder(8192);
        edit_tensors(&weights_path(folder.path()), |tensors| {
            tensors.values_mut().for_each(|tensor| *tensor = tensor.to_kind(kind));
        });
        edit_json(&folder.path().join("config.json"), |config| {
            config.remove("dtype");
            config.insert(key.into(), json!(dtype));
        });
        let (loaded, report) = load(folder.path()).unwrap();
        assert_eq!(report.converted.len(), loaded.model.named_parameters().len());
        assert_eq!(encode(&loaded.model).kind(), Kind::Float);
        loaded.save(folder.path(), Head::None).unwrap();
        let config = Config::of_folder(folder.path()).unwrap();
        assert_eq!(config.extra.get("dtype"), Some(&json!("float32")));
        assert!(!config.extra.contains_key("torch_dtype"));
    }
}

#[test]
fn unlimited_maximum_lengths_are_preserved() {
    for length in ["1000000000000000019884624838656", "1e30", "null"] {
        let folder = bert_folder(8192);
        let path = folder.path().join("tokenizer_config.json");
        let text = format!(r#"{{"auto_map": {{}}, "model_max_length": {length}}}"#);
        fs::write(&path, text).unwrap();
        load(folder.path()).unwrap().0.save(folder.path(), Head::None).unwrap();
        let written = read_json(&path)["model_max_length"].as_f64();
        assert_eq!(written, (length != "null").then_some(1e30), "{length}");
    }
}

#[test]
fn keys_of_config_json_may_be_null_absent_or_unknown() {
    let folder = bert_folder(8192);
    let path = folder.path().join("config.json");
    edit_json(&path, |config| {
        for key in ["pad_token_id", "classifier_dropout", "position_embedding_type", "id2label"] {
            config.insert(key.into(), Value::Null);
        }
        config.insert("pooler_fc_size".into(), json!(768));
    });
    let (loaded, _) = load(folder.path()).unwrap();
    let config = loaded.model.config();
    assert_eq!((config.pad_token_id, config.num_labels()), (1, 2));
    assert_eq!(config.to_json()["pooler_fc_size"], 768);
    edit_json(&path, |config| {
        config.insert("id2label".into(), json!({"0": "no", "1": "yes", "2": "both"}));
        config.remove("label2id");
    });
    assert_eq!(load(folder.path()).unwrap().0.model.config().num_labels(), 3);
}
