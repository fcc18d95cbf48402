//! Tests of adapter folders: outputs compared with PEFT and AdapterHub (see
//! crates/testkit/fixtures/README.md), and rejected folders.
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use testkit::{Golden, assert_close, assert_contains, fixture};
use xlmr_model::{Config, Error, Head, LoraConfig, Model};

use crate::adapters::ALL_TARGETS;
use crate::common::{
    SEQUENCE, TOKEN, case_folder, compute_logits, edit_json, edit_tensors, load_case, read_json,
    read_stored, read_tensors, select_batch, small_config, temporary_copy,
};

/// Adapters that PEFT saved: name, base model and head.
const CASES: [(&str, &str, Head); 8] = [
    ("qa", "qa", Head::Span),
    ("seqcls", "seqcls", SEQUENCE),
    ("bert_seqcls", "bert_seqcls", SEQUENCE),
    ("modernbert_seqcls", "modernbert_seqcls", SEQUENCE),
    ("eurobert_tokcls", "eurobert_tokcls", TOKEN),
    ("deberta_mlm", "deberta_mlm", Head::MaskedLm),
    ("pair/one", "qa", Head::None),
    ("pair/second", "qa", Head::None),
];

fn peft_folder(name: &str) -> PathBuf {
    fixture("peft").join(name)
}

/// Compares a model's outputs for the inputs of the case `base` with stored outputs.
pub fn compare_outputs(
    title: &str,
    model: &Model,
    base: &str,
    head: Head,
    expected: &Golden<Tensor>,
    prefix: &str,
) {
    let stored_inputs = read_stored(base, "inputs.safetensors");
    let mut n_compared = 0;
    for batch_name in ["b0", "b1"] {
        let inputs = select_batch(&stored_inputs, batch_name);
        let hidden = model.encode(&inputs, false).unwrap();
        let mask = inputs.attention_mask.as_ref();
        let outputs = match head {
            Head::None | Head::MaskedLm => vec![("last_hidden_state", hidden)],
            _ => compute_logits(model, head, &hidden, mask),
        };
        for (output_name, output) in outputs {
            let Some(expected) = expected.get(&format!("{prefix}{batch_name}.{output_name}"))
            else {
                continue;
            };
            let mut token_mask = mask.unwrap().shallow_clone();
            while token_mask.dim() < output.dim() {
                token_mask = token_mask.unsqueeze(-1);
            }
            let output = if head == SEQUENCE { output } else { output * token_mask };
            assert_close(&format!("{title} {batch_name} {output_name}"), &output, expected, 1e-5);
            n_compared += 1;
        }
    }
    assert!(n_compared > 0, "{title}");
}

fn stored_outputs(name: &str) -> Golden<Tensor> {
    Golden::load(&peft_folder(name).join("outputs.safetensors"), Tensor::read_safetensors)
}

#[test]
fn outputs_match_peft() {
    for (name, base_name, head) in CASES.into_iter().filter(|(name, ..)| !name.contains('/')) {
        let mut model = load_case(base_name, &[head]);
        model.load_adapter("ours", peft_folder(name), head).unwrap();
        model.set_active_adapters(&["ours"]).unwrap();
        compare_outputs(name, &model, base_name, head, &stored_outputs(name), "");
    }
}

/// Adapters that AdapterHub saved: name, base model and head.
const HUB_CASES: [(&str, &str, Head); 4] = [
    ("qa", "qa", Head::Span),
    ("bert_seqcls", "bert_seqcls", SEQUENCE),
    ("deberta_qa", "deberta_qa", Head::Span),
    ("encoder", "qa", Head::None),
];

pub fn hub_folder(name: &str) -> PathBuf {
    fixture("adapter_hub").join(name)
}

#[test]
fn outputs_and_written_tensors_match_adapter_hub() {
    for (name, base_name, head) in HUB_CASES {
        let mut model = load_case(base_name, &[head]);
        model.load_adapter("ours", hub_folder(name), head).unwrap();
        model.set_active_adapters(&["ours"]).unwrap();
        let stored =
            Golden::load(&hub_folder(name).join("outputs.safetensors"), Tensor::read_safetensors);
        compare_outputs(name, &model, base_name, head, &stored, "");
        let folder = tempfile::tempdir().unwrap();
        model.save_adapter("ours", folder.path(), head).unwrap();
        for file in ["adapter.safetensors", "model_head.safetensors"] {
            let published = hub_folder(name).join(file);
            assert_eq!(published.exists(), folder.path().join(file).exists(), "{name}");
            if !published.exists() {
                continue;
            }
            let written = read_tensors(&folder.path().join(file));
            for (key, tensor) in read_tensors(&published) {
                let key = key.replace(".theirs.", ".ours.");
                assert!(written[&key].equal(&tensor), "{name}: {key}");
            }
            let written_keys = written.keys().filter(|key| !key.starts_with("bert.pooler."));
            assert_eq!(written_keys.count(), read_tensors(&published).len(), "{name}");
        }
        let config = |folder: &Path| read_json(&folder.join("adapter_config.json"));
        let (written, published) = (config(folder.path()), config(&hub_folder(name)));
        for (key, value) in written["config"].as_object().unwrap() {
            assert_eq!(*value, published["config"][key], "{name}: {key}");
        }
        assert!(written.as_object().unwrap().keys().eq(published.as_object().unwrap().keys()));
        model.load_adapter("again", folder.path(), head).unwrap();
        assert_eq!(parameters_of(&model, "ours"), parameters_of(&model, "again"));
    }
}

/// Returns an adapter's parameters by their names without the adapter's prefix.
fn parameters_of(model: &Model, adapter: &str) -> Vec<(String, Tensor)> {
    let prefix = format!("adapters.{adapter}.");
    let parameters = model.named_parameters().into_iter();
    parameters.filter_map(|(name, t)| Some((name.strip_prefix(&prefix)?.to_owned(), t))).collect()
}

#[test]
fn two_active_adapters_match_peft() {
    let mut model = load_case("qa", &[]);
    for name in ["one", "second"] {
        model.load_adapter(name, peft_folder("pair").join(name), Head::None).unwrap();
    }
    for (title, active) in
        [("one.", &["one"][..]), ("second.", &["second"]), ("both.", &["one", "second"])]
    {
        model.set_active_adapters(active).unwrap();
        compare_outputs(title, &model, "qa", Head::None, &stored_outputs("pair"), title);
    }
}

#[test]
fn a_written_folder_has_the_tensors_of_peft() {
    for (name, base_name, head) in CASES {
        let mut model = load_case(base_name, &[head]);
        model.load_adapter("ours", peft_folder(name), head).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save_adapter("ours", folder.path(), head).unwrap();
        let file = "adapter_model.safetensors";
        let (written, published) =
            (read_tensors(&folder.path().join(file)), read_tensors(&peft_folder(name).join(file)));
        let missing: Vec<_> = published.keys().filter(|key| !written.contains_key(*key)).collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        for (key, tensor) in &written {
            match published.get(key) {
                Some(published) => assert!(tensor.equal(published), "{name}: {key}"),
                // A tensor that only this crate saves belongs to the head, of which PEFT saves only
                // the configured modules.
                None => assert!(!key.contains("lora"), "{name}: {key}"),
            }
        }
        let config = |folder: &Path| read_json(&folder.join("adapter_config.json"));
        let (written, published) = (config(folder.path()), config(&peft_folder(name)));
        for key in ["r", "lora_alpha", "lora_dropout"] {
            assert_eq!(written[key].as_f64(), published[key].as_f64(), "{name}: {key}");
        }
        for key in ["task_type", "peft_type", "bias", "use_dora"] {
            assert_eq!(written[key], published[key], "{name}: {key}");
        }
        // PEFT's file has all keys that this crate writes.
        let keys = published.as_object().unwrap();
        assert!(written.as_object().unwrap().keys().all(|key| keys.contains_key(key)));
        model.load_adapter("again", folder.path(), head).unwrap();
    }
}

#[test]
fn every_target_is_saved_and_loaded_separately() {
    // PEFT matches module names by their last components. With 11 layers, the module name
    // `0.output.dense` in `target_modules` must match layer 0, but not layer 10.
    let config = Config { num_hidden_layers: 11, ..small_config() };
    for target in ALL_TARGETS {
        let mut model = Model::new(&config, &[], Device::Cpu, 1).unwrap();
        let lora = LoraConfig { targets: [target].into(), ..LoraConfig::default() };
        model.add_lora("one", &lora, 1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        model.save_adapter("one", folder.path(), Head::None).unwrap();
        model.load_adapter("two", folder.path(), Head::None).unwrap();
        let parameters = parameters_of(&model, "one");
        assert_eq!(parameters, parameters_of(&model, "two"));
        assert_eq!(parameters.len(), 22);
    }
}

/// Copies a case to a temporary folder and changes its configuration.
fn edited_copy(case: &Path, edit: impl FnOnce(&mut Map<String, Value>)) -> TempDir {
    let folder = temporary_copy(case);
    edit_json(&folder.path().join("adapter_config.json"), edit);
    folder
}

/// Loads a folder that must be rejected. Asserts that the error message contains `parts` and that
/// the model does not change, and returns the error.
fn expect_error(folder: &Path, head: Head, parts: &[&str]) -> Error {
    let mut model = load_case("qa", &[Head::Span]);
    let before = model.named_parameters();
    let error = model.load_adapter("ours", folder, head).unwrap_err();
    assert_contains(&error.to_string(), parts);
    assert_eq!(model.adapters().count(), 0);
    assert_eq!(before.len(), model.named_parameters().len());
    let stored = read_tensors(&case_folder("qa").join("model.safetensors"));
    assert!(before.iter().all(|(name, tensor)| tensor.equal(&stored[name])));
    error
}

#[test]
fn unknown_options_are_rejected_with_file_and_key() {
    for (key, value) in [
        ("use_dora", json!(true)),
        ("use_rslora", json!(true)),
        ("bias", json!("all")),
        ("layers_to_transform", json!([0])),
        ("rank_pattern", json!({"query": 2})),
        ("alpha_pattern", json!({"query": 2})),
        ("fan_in_fan_out", json!(true)),
        ("trainable_token_indices", json!([1])),
        ("something_new", json!(1)),
        ("init_lora_weights", json!("pissa")),
        ("init_lora_weights", json!(3)),
        ("peft_type", json!("IA3")),
        ("peft_type", json!(null)),
        ("r", json!(0)),
        ("r", json!("four")),
        ("r", json!(-2)),
        ("lora_alpha", json!(0)),
        ("lora_dropout", json!(1.5)),
        ("target_modules", json!("all-linear")),
        ("target_modules", json!(".*query")),
        ("target_modules", json!([])),
        ("target_modules", json!(null)),
        ("target_modules", json!(["layer.1.attention.self.query"])),
        ("target_modules", json!(["self", "ery"])),
        ("modules_to_save", json!("qa_outputs")),
        ("task_type", json!("TOKEN_CLS")),
    ] {
        let folder = edited_copy(&peft_folder("qa"), |config| _ = config.insert(key.into(), value));
        let parts = ["adapter_config.json", &format!("`{key}`")];
        assert!(matches!(expect_error(folder.path(), Head::Span, &parts), Error::Config { .. }));
    }
    let folder = temporary_copy(&peft_folder("qa"));
    let path = folder.path().join("adapter_config.json");
    for (bytes, part) in [(b"[]".as_slice(), "a JSON object"), (b"{", "not valid JSON")] {
        fs::write(&path, bytes).unwrap();
        expect_error(folder.path(), Head::Span, &["adapter_config.json", part]);
    }
    fs::remove_file(path).unwrap();
    expect_error(folder.path(), Head::Span, &["needs an adapter_config.json"]);
    // EuroBERT's gate_proj and up_proj are one target.
    let folder = edited_copy(&peft_folder("eurobert_tokcls"), |config| {
        config.insert("target_modules".into(), json!(["gate_proj"]));
    });
    let error = load_case("eurobert_tokcls", &[TOKEN]).load_adapter("ours", folder.path(), TOKEN);
    assert!(error.unwrap_err().to_string().contains("gate_proj and up_proj"));
}

#[test]
fn invalid_tensors_are_rejected_with_file_and_name() {
    let file = "adapter_model.safetensors";
    let layer = "base_model.model.roberta.encoder.layer.1.attention.self.query";
    let (a, b) = (format!("{layer}.lora_A.weight"), format!("{layer}.lora_B.weight"));
    let with_tensors = |edit: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
        let folder = temporary_copy(&peft_folder("qa"));
        edit_tensors(&folder.path().join(file), |tensors| edit(tensors));
        folder
    };
    let zeros = |size: &[i64]| Tensor::zeros(size, (Kind::Float, Device::Cpu));
    for removed in [&a, &b, "base_model.model.qa_outputs.bias"] {
        let folder = with_tensors(&|tensors| assert!(tensors.remove(removed).is_some()));
        expect_error(folder.path(), Head::Span, &[file, "lacks tensor", removed]);
    }
    for unexpected in [
        "stray",
        "base_model.model.roberta.encoder.layer.2.attention.self.query.lora_A.weight",
        "base_model.model.roberta.encoder.layer.1.attention.self.query.weight",
        "base_model.model.roberta.encoder.layer.1.attention.self.key.lora_A.weight",
        "roberta.encoder.layer.1.attention.self.query.lora_A.weight",
    ] {
        let folder =
            with_tensors(&|tensors| _ = tensors.insert(unexpected.into(), zeros(&[2, 32])));
        expect_error(folder.path(), Head::Span, &[file, unexpected, "neither"]);
    }
    let duplicate = "base_model.model.encoder.layer.1.attention.self.query.lora_A.weight";
    let folder = with_tensors(&|tensors| _ = tensors.insert(duplicate.into(), zeros(&[2, 32])));
    expect_error(folder.path(), Head::Span, &[file, "duplicate tensor"]);
    let folder = with_tensors(&|tensors| _ = tensors.insert(a.clone(), zeros(&[2, 48])));
    expect_error(folder.path(), Head::Span, &[file, &a, "[2, 32]", "[2, 48]"]);
    let folder = with_tensors(&|tensors| {
        tensors.insert(b.clone(), zeros(&[32, 2]).to_kind(Kind::Double));
    });
    expect_error(folder.path(), Head::Span, &[file, &b, "F32, F16 or BF16", "F64"]);
    // The configured rank is wrong, the base model has another hidden size, or the model lacks the
    // adapter's head.
    let folder = edited_copy(&peft_folder("qa"), |config| _ = config.insert("r".into(), json!(4)));
    expect_error(folder.path(), Head::Span, &[file, "lora_A", "[4, 32]", "[2, 32]"]);
    let wider_model = Config { hidden_size: 64, num_attention_heads: 4, ..small_config() };
    let mut wider_model = Model::new(&wider_model, &[Head::Span], Device::Cpu, 1).unwrap();
    let error =
        wider_model.load_adapter("ours", peft_folder("qa"), Head::Span).unwrap_err().to_string();
    assert!(error.contains("[2, 64]") && error.contains(file), "{error}");
    expect_error(&peft_folder("qa"), Head::None, &[file, "qa_outputs", "nor to the head"]);
    expect_error(&peft_folder("qa"), Head::MaskedLm, &["no masked-language-model head"]);
    let folder = temporary_copy(&peft_folder("qa"));
    let original = fs::read(folder.path().join(file)).unwrap();
    fs::write(folder.path().join(file), &original[..original.len() - 1]).unwrap();
    expect_error(folder.path(), Head::Span, &[file, "truncated"]);
    fs::remove_file(folder.path().join(file)).unwrap();
    expect_error(folder.path(), Head::Span, &["no adapter_model.safetensors"]);
    fs::write(folder.path().join("adapter_model.bin"), b"x").unwrap();
    expect_error(folder.path(), Head::Span, &["adapter_model.bin", "pickle"]);
}

#[test]
fn unsupported_adapter_types_are_rejected() {
    let with_option = |key: &str, value: Value| {
        edited_copy(&hub_folder("qa"), |config| config["config"][key] = value)
    };
    for (key, value) in [
        ("mh_adapter", json!(true)),
        ("output_adapter", json!(false)),
        ("original_ln_before", json!(false)),
        ("residual_before_ln", json!("post_add")),
        ("ln_after", json!(true)),
        ("scaling", json!(4.0)),
        ("scaling", json!("learned")),
        ("leave_out", json!([1])),
        ("inv_adapter", json!("nice")),
        ("phm_layer", json!(true)),
        ("reduction_factor", json!({"0": 4, "default": 16})),
        ("reduction_factor", json!(0)),
        ("reduction_factor", json!(2.5)),
        ("non_linearity", json!("leakyrelu")),
        ("something_new", json!(1)),
    ] {
        let folder = with_option(key, value);
        let parts = ["adapter_config.json", &format!("`{key}`")];
        assert!(matches!(expect_error(folder.path(), Head::Span, &parts), Error::Config { .. }));
    }
    let file = "adapter.safetensors";
    let folder = with_option("reduction_factor", json!(8));
    expect_error(folder.path(), Head::Span, &[file, "adapter_down.0", "[4, 32]", "[8, 32]"]);
    let folder = temporary_copy(&hub_folder("qa"));
    let removed = "roberta.encoder.layer.1.output.adapters.theirs.adapter_up.bias";
    edit_tensors(&folder.path().join(file), |tensors| assert!(tensors.remove(removed).is_some()));
    expect_error(
        folder.path(),
        Head::Span,
        &[file, "lacks tensor", "layer.1.output", "adapter_up.bias"],
    );
    fs::remove_file(folder.path().join(file)).unwrap();
    fs::write(folder.path().join("pytorch_adapter.bin"), b"x").unwrap();
    expect_error(folder.path(), Head::Span, &["pytorch_adapter.bin", "pickle"]);
    let folder = temporary_copy(&hub_folder("qa"));
    edit_tensors(&folder.path().join("model_head.safetensors"), |tensors| {
        tensors.insert("stray".into(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    });
    expect_error(folder.path(), Head::Span, &["model_head.safetensors", "stray"]);
}
