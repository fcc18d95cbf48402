//! Tests of LoRAs of PEFT next to a model's weights: outputs compared with PEFT (see
//! crates/testkit/fixtures/README.md), and rejected folders.
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use testkit::{Golden, assert_contains, fixture};
use xlmr_model::{Config, Head};

use crate::adapter_folder::compare_outputs;
use crate::common::{
    SEQUENCE, TOKEN, case_folder, edit_json, edit_tensors, open_folder, temporary_copy,
};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// Returns a copy of the case `base` with the files of an adapter.
fn with_adapter(base: &str, adapter: &Path) -> TempDir {
    let folder = temporary_copy(&case_folder(base));
    for name in [CONFIG, WEIGHTS] {
        fs::copy(adapter.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

fn merged_case(name: &str) -> TempDir {
    with_adapter("qa", &fixture("peft_merged").join(name))
}

fn load_error(folder: &Path) -> String {
    open_folder(folder, &[Head::Span]).unwrap_err().to_string()
}

#[test]
fn outputs_match_peft() {
    let merged = fixture("peft_merged");
    let mut cases: Vec<(&str, Head, PathBuf)> = [
        "rslora",
        "dora",
        "patterns",
        "bias_all",
        "bias_lora_only",
        "lora_bias",
        "embedding",
        "embedding_dora",
        "layers",
        "layers_pattern",
        "regex",
        "excluded",
        "saved_embeddings",
    ]
    .into_iter()
    .map(|name| ("qa", Head::Span, merged.join(name)))
    .collect();
    cases.push(("qa", Head::None, merged.join("bare")));
    cases.push(("eurobert_tokcls", TOKEN, merged.join("eurobert")));
    // Adapters that can also be loaded without merging.
    for (base, head) in [
        ("qa", Head::Span),
        ("seqcls", SEQUENCE),
        ("bert_seqcls", SEQUENCE),
        ("modernbert_seqcls", SEQUENCE),
    ] {
        cases.push((base, head, fixture("peft").join(base)));
    }
    for (base, head, adapter) in cases {
        let title = adapter.display().to_string();
        let folder = with_adapter(base, &adapter);
        let (model, report) = open_folder(folder.path(), &[head]).unwrap();
        assert!(!report.merged.is_empty() && report.missing.is_empty(), "{title}: {report:?}");
        let expected = Golden::load(&adapter.join("outputs.safetensors"), Tensor::read_safetensors);
        compare_outputs(&title, &model, base, head, &expected, "");
    }
}

#[test]
fn a_head_of_the_adapter_is_trained_whatever_the_class_of_the_base_model() {
    let check = |adapter: &str| {
        let folder = merged_case(adapter);
        edit_json(&folder.path().join("config.json"), |config| {
            config.insert("architectures".into(), json!(["XLMRobertaForMaskedLM"]));
        });
        let tokenizer = fixture("tokenizer.json");
        fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
        edit_json(&folder.path().join("tokenizer.json"), |tokenizer| {
            let vocabulary = tokenizer["model"]["vocab"].as_array_mut().unwrap();
            vocabulary.truncate(299);
            vocabulary.push(json!(["<mask>", 0.0]));
            for token in tokenizer["added_tokens"].as_array_mut().unwrap() {
                if token["content"] == "<mask>" {
                    token["id"] = json!(299);
                }
            }
        });
        let (cpu, f32) = (Device::Cpu, torch_ext::Precision::F32);
        let loaded = xlmr_model::Pretrained::load_trained(folder.path(), Head::Span, cpu, f32);
        loaded.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(check("saved_embeddings"), Ok(()));
    // This adapter has no head.
    assert_contains(&check("rslora").unwrap_err(), &["config.json names XLMRobertaForMaskedLM"]);
}

#[test]
fn a_merged_model_is_saved_without_its_adapter() {
    let folder = merged_case("dora");
    let (model, _) = open_folder(folder.path(), &[Head::Span]).unwrap();
    let error = model.save(folder.path(), Head::Span).unwrap_err().to_string();
    assert_contains(&error, &["adapter_config.json: belongs to an adapter"]);
    let saved = tempfile::tempdir().unwrap();
    model.save(saved.path(), Head::Span).unwrap();
    let (again, report) = open_folder(saved.path(), &[Head::Span]).unwrap();
    assert!(report.merged.is_empty());
    crate::common::assert_equal_parameters(&again, &model);
}

#[test]
fn damaged_and_unsupported_adapters_are_errors() {
    let with_config = |key: &str, value: serde_json::Value| {
        let folder = merged_case("rslora");
        edit_json(&folder.path().join(CONFIG), |config| _ = config.insert(key.into(), value));
        load_error(folder.path())
    };
    for (key, value, expected) in [
        ("peft_type", json!("IA3"), "peft_type"),
        ("init_lora_weights", json!("pissa"), "change the base model's weights"),
        ("target_modules", json!("("), "a regular expression"),
        ("target_modules", json!("all-linear"), "all-linear"),
        ("target_modules", json!(["query"]), "adapter_config.json does not target"),
        ("target_modules", json!(["query", "output.dense", "value"]), "lacks a LoRA of"),
        ("use_dora", json!(true), "lora_magnitude_vector"),
        ("r", json!(3), "[3, 32]"),
        ("rank_pattern", json!({"query": 3}), "[3, 32]"),
        ("alpha_pattern", json!({"query": 3, ".*query": 4}), "two values"),
        ("layers_to_transform", json!([0]), "adapter_config.json does not target"),
        ("trainable_token_indices", json!([3]), "not supported"),
        ("layer_replication", json!([[0, 2]]), "not supported"),
    ] {
        assert_contains(&with_config(key, value), &["adapter", expected]);
    }
    // A missing tensor, an unknown tensor, and no tensors.
    let with_tensors = |edit: fn(&mut std::collections::BTreeMap<String, Tensor>)| {
        let folder = merged_case("rslora");
        edit_tensors(&folder.path().join(WEIGHTS), edit);
        load_error(folder.path())
    };
    assert_contains(
        &with_tensors(|tensors| _ = tensors.pop_first()),
        &["lacks tensor", "layer.0.attention.output.dense.lora_A"],
    );
    let other = with_tensors(|tensors| {
        _ = tensors.insert("base_model.model.other.weight".into(), Tensor::from(0f32));
    });
    assert_contains(&other, &["other.weight belongs neither to a LoRA nor to the model"]);
    let folder = merged_case("rslora");
    fs::remove_file(folder.path().join(WEIGHTS)).unwrap();
    assert_contains(&load_error(folder.path()), &["found adapter_config.json, but no"]);
    // A masked-LM head shares the token embeddings without their LoRA.
    let folder = with_adapter("mlm", &fixture("peft_merged/embedding"));
    if let Err(error) = open_folder(folder.path(), &[Head::MaskedLm]) {
        assert_contains(&error.to_string(), &["adapter"]);
    } else {
        panic!("a masked-LM head with a LoRA of the token embeddings");
    }
}

#[test]
fn a_lora_in_the_weights_is_an_error() {
    let folder = temporary_copy(&case_folder("qa"));
    edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
        let name = "roberta.encoder.layer.0.attention.self.query.lora_A.default.weight";
        tensors.insert(name.into(), Tensor::zeros([2, 32], (Kind::Float, Device::Cpu)));
    });
    let error = load_error(folder.path());
    assert_contains(&error, &["query.lora_A.default.weight", "not merged", "merge_and_unload"]);
}

#[test]
fn an_adapter_without_its_base_model_is_named() {
    let folder = fixture("peft/qa");
    for error in [
        Config::of_folder(&folder).unwrap_err(),
        xlmr_model::read_tokenizer(&folder).unwrap_err(),
        open_folder(&folder, &[Head::Span]).unwrap_err(),
    ] {
        assert_contains(&error.to_string(), &["is an adapter without its base model hf/qa"]);
    }
}

#[test]
fn prefixes_of_wrapped_models_are_removed() {
    let expected = crate::common::load_case("qa", &[Head::Span]);
    for prefix in ["_orig_mod.", "module.", "module._orig_mod."] {
        let folder = temporary_copy(&case_folder("qa"));
        edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
            let renamed = std::mem::take(tensors).into_iter();
            *tensors = renamed.map(|(name, tensor)| (format!("{prefix}{name}"), tensor)).collect();
        });
        let (model, report) = open_folder(folder.path(), &[Head::Span]).unwrap();
        assert!(report.missing.is_empty() && report.unexpected.is_empty(), "{prefix}: {report:?}");
        crate::common::assert_equal_parameters(&model, &expected);
        // A prefix of some tensors is a part of their names.
        edit_tensors(&folder.path().join("model.safetensors"), |tensors| {
            tensors.insert("other".into(), Tensor::zeros([2], (Kind::Float, Device::Cpu)));
        });
        assert_contains(&load_error(folder.path()), &["tensors of the encoder are missing"]);
    }
}
