//! Tests that transformers, if it is installed, opens folders that this crate wrote.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use testkit::{PythonPackages, deberta_spm_model, fixture, python_with, transformers_4_packages};
use xlmr_model::{
    Activation, Architecture, BottleneckConfig, Config, DistilBert, Electra, Head, Inputs,
    LoadOptions, LoraConfig, LoraTarget, Model, ModernBert, Pretrained, Role,
};

use crate::common::tokenizers::{camembert_tokenizer, roberta_tokenizer, stored_tokenizer};
use crate::common::{SEQUENCE, TOKEN, compute_logits, load_case};
use crate::new_models;

#[path = "common/encodings.rs"]
mod encodings;

#[test]
fn transformers_opens_written_folders_with_equal_outputs() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let folder = tempfile::tempdir().unwrap();
    new_models::write_folders(folder.path()).unwrap();
    let mut folders: Vec<_> =
        folder.path().read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    assert_eq!(folders.len(), 89);
    // transformers 4 lacks EuroBERT, and fails to load the masked-LM head of DeBERTa v3.
    let is_supported_by_transformers_4 = |folder: &&PathBuf| {
        !folder.to_string_lossy().contains("eurobert") && !folder.ends_with("deberta_mlm")
    };
    let supported_folders: Vec<_> = folders.iter().filter(is_supported_by_transformers_4).collect();
    let mut package_folders = vec![None];
    package_folders.extend(transformers_4_packages().map(Some));
    for packages in package_folders {
        let mut command = Command::new(&python);
        command
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_with_transformers.py"))
            .args(["--program", env!("CARGO_BIN_EXE_xlmr-model")]);
        let count = match packages {
            Some(packages) => {
                command.env("PYTHONPATH", packages).args(&supported_folders);
                supported_folders.len()
            }
            None => {
                command.args(&folders);
                folders.len()
            }
        };
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        assert_eq!(text.matches(": ok, largest difference").count(), count, "{text}");
    }
}

/// Loads a model folder and saves it to another folder, as a training program does.
fn resave(from: &Path) -> PathBuf {
    let to = from.with_extension("saved");
    let head = [Head::MaskedLm];
    let (model, _) = Pretrained::load(from, &head, Device::Cpu, LoadOptions::default()).unwrap();
    model.save(&to, Head::MaskedLm).unwrap();
    to
}

#[test]
fn transformers_opens_written_tokenizers() {
    let root = tempfile::tempdir().unwrap();
    let small_config = |config: Config| Config {
        vocab_size: 8200,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 16,
        ..config
    };
    let modern = Architecture::ModernBert(ModernBert::new(2));
    let modern = Config { architecture: modern, ..small_config(Config::mmbert_base()) };
    let bert = small_config(Config::bert_base_multilingual());
    let (bos_token_id, eos_token_id, pad_token_id) = (Some(2997), Some(2998), 2998);
    let euro = Config::eurobert_210m();
    let euro = small_config(Config { bos_token_id, eos_token_id, pad_token_id, ..euro });
    let gemma_tokenizer_config = json!({
        "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>",
        "cls_token": "<bos>", "sep_token": "<eos>", "unk_token": "<unk>",
        "mask_token": {"__type": "AddedToken", "content": "<mask>", "lstrip": false,
            "normalized": false, "rstrip": false, "single_word": false, "special": true},
        "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 8192,
        "tokenizer_class": "PreTrainedTokenizerFast"});
    let bert_tokenizer_config = json!({"do_lower_case": false, "model_max_length": 512});
    let roberta = Config { architecture: Architecture::Roberta, ..small_config(Config::base()) };
    let camembert = Config {
        architecture: Architecture::Camembert,
        bos_token_id: Some(5),
        eos_token_id: Some(6),
        ..roberta.clone()
    };
    let distil = Config {
        architecture: Architecture::DistilBert(DistilBert::default()),
        type_vocab_size: 1,
        ..bert.clone()
    };
    let electra = Config {
        architecture: Architecture::Electra(Electra { embedding_size: 8 }),
        ..bert.clone()
    };
    let roberta_tokenizer_config = json!({"add_prefix_space": true, "model_max_length": 512,
        "tokenizer_class": "RobertaTokenizer"});
    let distil_tokenizer_config = json!({"do_lower_case": false, "model_max_length": 512,
        "tokenizer_class": "DistilBertTokenizer"});
    let camembert_tokenizer_config =
        json!({"model_max_length": 512, "tokenizer_class": "CamembertTokenizer"});
    let deberta = small_config(Config::mdeberta_v3_base());
    let deberta_tokenizer_config = json!({
        "do_lower_case": false, "vocab_type": "spm", "model_max_length": 512,
        "model_input_names": ["input_ids", "attention_mask"],
        "tokenizer_class": "DebertaV2Tokenizer"});
    // The last value of each case is the content of tokenizer_config.json in a published folder, or
    // null if the folder has no such file.
    let mut folders = Vec::new();
    for (name, tokenizer, config, tokenizer_config) in [
        ("xlm-r", "tokenizer", &small_config(Config::base()), Value::Null),
        ("xlm-r-hub", "tokenizer", &small_config(Config::base()), json!({"model_max_length": 512})),
        ("xlm-r-bare", "tokenizer", &small_config(Config::base()), Value::Null),
        ("cased", "wordpiece", &bert, Value::Null),
        ("cased-bare", "wordpiece", &bert, Value::Null),
        ("cased-hub", "wordpiece", &bert, bert_tokenizer_config),
        ("mmbert", "byte_fallback", &modern, Value::Null),
        ("mmbert-hub", "byte_fallback", &modern, gemma_tokenizer_config),
        ("euro", "byte_level", &euro, Value::Null),
        ("euro-bare", "byte_level", &euro, Value::Null),
        ("roberta", "roberta", &roberta, Value::Null),
        ("roberta-hub", "roberta", &roberta, json!({"model_max_length": 512})),
        ("roberta-cut", "roberta", &roberta, roberta_tokenizer_config),
        ("camembert", "camembert", &camembert, Value::Null),
        ("camembert-hub", "camembert", &camembert, camembert_tokenizer_config),
        ("distil-hub", "wordpiece", &distil, distil_tokenizer_config),
        ("electra-lower-cut", "wordpiece", &electra, json!({"model_max_length": 512})),
        ("pieces", "sentencepiece.bpe.model", &small_config(Config::base()), Value::Null),
        ("deberta", "spm.model", &deberta, Value::Null),
        ("deberta-hub", "spm.model", &deberta, deberta_tokenizer_config),
    ] {
        let folder = root.path().join(name);
        let model = Model::new(config, &[Head::MaskedLm], Device::Cpu, 1).unwrap();
        model.save(&folder, Head::MaskedLm).unwrap();
        if tokenizer_config.is_object() {
            fs::write(folder.join("tokenizer_config.json"), tokenizer_config.to_string()).unwrap();
        }
        if tokenizer.ends_with(".model") {
            let pieces = match tokenizer {
                "spm.model" => deberta_spm_model(),
                name => fs::read(fixture(name)).unwrap(),
            };
            fs::write(folder.join(tokenizer), pieces).unwrap();
            folders.push(resave(&folder));
            continue;
        }
        let mut tokenizer = match tokenizer {
            "roberta" => roberta_tokenizer(name.ends_with("-cut")),
            "camembert" => camembert_tokenizer(),
            name => stored_tokenizer(name),
        };
        if name.contains("-lower") {
            tokenizer["normalizer"]["lowercase"] = true.into();
            tokenizer["normalizer"]["strip_accents"] = Value::Null;
        }
        if name.ends_with("-cut") {
            // Truncation and padding in tokenizer.json must have no effect in this crate.
            tokenizer["truncation"] = json!({"direction": "Right", "max_length": 6,
                "strategy": "LongestFirst", "stride": 0});
            tokenizer["padding"] = json!({"strategy": {"Fixed": 6}, "direction": "Right",
                "pad_to_multiple_of": null, "pad_id": config.pad_token_id, "pad_type_id": 0,
                "pad_token": if tokenizer["model"]["type"] == "BPE" { "<pad>" } else { "[PAD]" }});
        }
        if name.ends_with("-bare") {
            tokenizer["post_processor"] = Value::Null;
        }
        fs::write(folder.join("tokenizer.json"), tokenizer.to_string()).unwrap();
        folders.push(resave(&folder));
    }
    let base = fixture("../../../data/base");
    let base_copy = root.path().join("base");
    fs::create_dir(&base_copy).unwrap();
    for file in ["config.json", "model.safetensors", "heads.safetensors", "tokenizer.json"] {
        fs::copy(base.join(file), base_copy.join(file)).unwrap();
    }
    folders.extend([resave(&base_copy), base]);
    encodings::check_transformers_encoding(&folders);
}

/// `cargo xtask peers --torch` installs PEFT. AdapterHub's package `adapters`, which requires
/// transformers 4, is used only if its folder is in `PYTHONPATH`.
#[test]
fn peft_and_adapter_hub_open_adapters_with_equal_outputs() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let older_packages = transformers_4_packages().unwrap_or_default();
    let python_path = std::env::var("PYTHONPATH").unwrap_or_default();
    // If the last value is true, the case is also compared with AdapterHub.
    let cases = [
        ("qa", Head::None, true),
        ("qa", Head::Span, true),
        ("mlm", Head::MaskedLm, true),
        ("tokcls", TOKEN, false),
        ("seqcls", SEQUENCE, true),
        ("bert_seqcls", SEQUENCE, true),
        ("bert_tokcls", TOKEN, true),
        ("modernbert_qa", Head::Span, false),
        ("modernbert_mlm", Head::MaskedLm, false),
        ("modernbert_tokcls", TOKEN, false),
        ("eurobert_seqcls", SEQUENCE, false),
        ("deberta_seqcls", SEQUENCE, false),
        ("deberta_qa", Head::Span, true),
        ("roberta_qa", Head::Span, true),
        ("distilbert_seqcls", SEQUENCE, true),
        ("electra_mlm", Head::MaskedLm, false),
        ("electra_tokcls", TOKEN, true),
        ("rembert_seqcls", SEQUENCE, false),
        ("xlmrxl_qa", Head::Span, false),
        ("mpnet_qa", Head::Span, false),
    ];
    let older_path = format!("{python_path}:{}", older_packages.display());
    for (module, path, kinds) in
        [("peft", python_path, &["lora"][..]), ("adapters", older_path, &["bottleneck", "fusion"])]
    {
        let run = || {
            let mut command = Command::new(&python);
            command.env("PYTHONPATH", &path);
            command
        };
        let import_result = run().args(["-c", &format!("import {module}")]).output().unwrap();
        if !import_result.status.success() {
            let _ = writeln!(std::io::stderr(), "skipped: {module} is not installed");
            continue;
        }
        let root = tempfile::tempdir().unwrap();
        let mut folders: Vec<PathBuf> = Vec::new();
        for kind in kinds {
            for (name, head, _) in cases.into_iter().filter(|case| module == "peft" || case.2) {
                let folder = root.path().join(format!("{name} {} {kind}", head.name()));
                write_adapter(&folder, name, head, kind);
                folders.push(folder);
            }
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/check_adapters.py");
        let output = run().arg(script).args(&folders).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}{errors}");
        assert_eq!(text.matches(": ok, largest difference").count(), folders.len(), "{text}");
    }
}

/// Writes a base model, an adapter with a changed head, and the outputs of the model with the
/// adapter.
fn write_adapter(folder: &Path, name: &str, head: Head, kind: &str) {
    let mut model = load_case(name, &[head]);
    model.save(folder.join("base"), head).unwrap();
    let bottlenecks = ["ours", "other", "third"];
    let config = BottleneckConfig { reduction: 5, activation: Activation::Gelu };
    if kind == "fusion" {
        for name in bottlenecks {
            model.add_bottleneck(name, &config, 1).unwrap();
        }
        model.add_adapter_fusion(&bottlenecks, 1).unwrap();
    } else if kind == "bottleneck" {
        model.add_bottleneck("ours", &config, 1).unwrap();
    } else {
        let mut lora = LoraConfig { rank: 3, alpha: 7.5, dropout: 0.1, ..LoraConfig::default() };
        lora.targets.extend([LoraTarget::Intermediate, LoraTarget::Output]);
        model.add_lora("ours", &lora, 1).unwrap();
    }
    for (name, parameter) in model.named_parameters() {
        let is_base_parameter =
            Role::Encoder.matches(&name) || Role::Head.matches(&name) && head == Head::MaskedLm;
        if !is_base_parameter {
            let count = i64::try_from(parameter.numel()).unwrap();
            let noise = Tensor::arange(count, (Kind::Float, Device::Cpu)).sin() * 0.2;
            let _ = parameter.detach().f_add_(&noise.view(&parameter.size()[..])).unwrap();
        }
    }
    if kind == "fusion" {
        model.set_active_fusion(&bottlenecks).unwrap();
        model.save(folder.join("base"), head).unwrap();
    } else {
        model.set_active_adapters(&["ours"]).unwrap();
        model.save_adapter("ours", folder.join("adapter"), head).unwrap();
    }
    let rows: [&[u32]; 3] = [&[5, 37, 17, 9, 31, 8, 39, 6], &[5, 9, 6], &[7, 30, 31, 32, 6]];
    let inputs = Inputs::from_rows(&rows, model.config().pad_token_id).unwrap();
    let mask = inputs.attention_mask.as_ref();
    let hidden = model.encode(&inputs, false).unwrap();
    let outputs = match head {
        Head::None => vec![("last_hidden_state", hidden)],
        _ => compute_logits(&model, head, &hidden, mask),
    };
    let outputs: Vec<_> = outputs.into_iter().map(|(n, t)| (n, t.contiguous())).collect();
    Tensor::write_safetensors(&outputs, folder.join("outputs.safetensors")).unwrap();
    let inputs = [("input_ids", &inputs.input_ids), ("attention_mask", mask.unwrap())];
    Tensor::write_safetensors(&inputs, folder.join("inputs.safetensors")).unwrap();
}
