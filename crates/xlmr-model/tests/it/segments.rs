//! Tests of the segments of pairs, which the tokenizer's files determine.
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tch::Device;
use tempfile::TempDir;
use testkit::{PythonPackages, assert_contains, fixture, python_with, transformers_4_packages};
use xlmr_model::{Architecture, Config, Head, Inspection, LoadOptions, Model, Pretrained};

use crate::common::read_json;

/// Writes a small model with the tokenizer `tokenizer` and, if it is an object, a
/// `tokenizer_config.json`.
fn folder_with(config: &Config, tokenizer: &str, tokenizer_config: &Value) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new(config, &[Head::Span], Device::Cpu, 1).unwrap();
    model.save(folder.path(), Head::Span).unwrap();
    fs::copy(fixture(tokenizer), folder.path().join("tokenizer.json")).unwrap();
    if tokenizer_config.is_object() {
        let path = folder.path().join("tokenizer_config.json");
        fs::write(path, tokenizer_config.to_string()).unwrap();
    }
    folder
}

fn load(folder: &Path) -> Pretrained {
    Pretrained::load(folder, &[Head::Span], Device::Cpu, LoadOptions::default()).unwrap().0
}

/// BERT's architecture with two segments and the special tokens of the tokenizer `tokenizer`.
fn bert(tokenizer: &str) -> Config {
    let (vocab_size, pad_token_id) =
        if tokenizer == "tokenizer.json" { (8192, 1) } else { (3000, 0) };
    let architecture = Architecture::Bert;
    let (bos_token_id, eos_token_id, type_vocab_size) = (None, None, 2);
    let tiny = Config::tiny(vocab_size);
    Config { architecture, bos_token_id, eos_token_id, pad_token_id, type_vocab_size, ..tiny }
}

fn xlm_roberta() -> Config {
    Config { type_vocab_size: 2, ..Config::tiny(8192) }
}

const XLM_R: &str = "tokenizer.json";
const WORDPIECE: &str = "wordpiece.json";

#[test]
fn the_tokenizers_files_determine_the_segments() {
    let xlm_r_class = json!({"tokenizer_class": "XLMRobertaTokenizer"});
    let names = json!({"model_input_names": ["input_ids", "attention_mask"]});
    for (config, tokenizer, tokenizer_config, expected) in [
        (bert(WORDPIECE), WORDPIECE, &Value::Null, Some(0)),
        (bert(WORDPIECE), WORDPIECE, &names, None),
        // Multilingual MiniLM and multilingual-e5: BERT's weights and XLM-R's tokenizer.
        (bert(XLM_R), XLM_R, &xlm_r_class, None),
        // The class returns token types, which are all 0.
        (bert(XLM_R), XLM_R, &json!({"tokenizer_class": "BertTokenizer"}), None),
        (xlm_roberta(), XLM_R, &Value::Null, None),
        (Config { type_vocab_size: 1, ..bert(WORDPIECE) }, WORDPIECE, &Value::Null, None),
    ] {
        let folder = folder_with(&config, tokenizer, tokenizer_config);
        let title = format!("{:?} {tokenizer} {tokenizer_config}", config.architecture);
        assert_eq!(load(folder.path()).model.pair_segments(), expected, "{title}");
        assert_eq!(
            Inspection::of_folder(folder.path()).unwrap().pair_segments,
            expected,
            "{title}"
        );
    }
    // Without a tokenizer, the segments are those of the architecture's own tokenizer.
    let segments =
        |config: &Config| Model::new(config, &[], Device::Cpu, 1).unwrap().pair_segments();
    assert_eq!((segments(&bert(WORDPIECE)), segments(&xlm_roberta())), (Some(0), None));
    let folder = folder_with(&bert(WORDPIECE), WORDPIECE, &json!({"model_input_names": 3}));
    let loaded = Pretrained::load(folder.path(), &[], Device::Cpu, LoadOptions::default());
    let error = loaded.unwrap_err().to_string();
    assert_contains(&error, &["tokenizer_config.json", "model_input_names", "got 3"]);
}

/// Saves models with and without segments; returns the folders with the token types of `a b` and
/// `c`, without the number of tokens of the texts.
fn saved_folders(root: &Path) -> Vec<(PathBuf, Option<usize>)> {
    let xlm_r_class = json!({"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": 512});
    let mut folders = Vec::new();
    for (name, config, tokenizer, tokenizer_config, enable, expected) in [
        ("bert", bert(WORDPIECE), WORDPIECE, &Value::Null, false, Some(0)),
        ("minilm", bert(XLM_R), XLM_R, &xlm_r_class, false, None),
        ("minilm-segments", bert(XLM_R), XLM_R, &xlm_r_class, true, Some(0)),
        ("xlm-r", xlm_roberta(), XLM_R, &Value::Null, false, None),
        ("xlm-r-segments", xlm_roberta(), XLM_R, &xlm_r_class, true, Some(1)),
        ("one-segment", Config::tiny(8192), XLM_R, &xlm_r_class, true, None),
    ] {
        let folder = folder_with(&config, tokenizer, tokenizer_config);
        let mut pretrained = load(folder.path());
        if enable {
            pretrained.enable_pair_segments().unwrap();
        }
        assert_eq!(pretrained.model.pair_segments(), expected, "{name}");
        let saved = root.join(name);
        pretrained.save(&saved, Head::Span).unwrap();
        folders.push((saved, expected));
    }
    folders
}

#[test]
fn saved_folders_have_the_segments_of_the_model() {
    let root = tempfile::tempdir().unwrap();
    for (folder, expected) in saved_folders(root.path()) {
        let title = folder.display();
        let again = load(&folder);
        assert_eq!(again.model.pair_segments(), expected, "{title}");
        let names = &read_json(&folder.join("tokenizer_config.json"))["model_input_names"];
        if again.model.config().type_vocab_size > 1 {
            let has_types = names.as_array().unwrap().contains(&json!("token_type_ids"));
            assert_eq!(has_types, expected.is_some(), "{title}");
        }
        // Only segments change, not the tokens.
        let original = tokenizers::Tokenizer::from_file(folder.join("tokenizer.json")).unwrap();
        let pair = original.encode(("what is", "it is a house"), true).unwrap();
        let types = pair.get_type_ids();
        let n_segment_1 = types.iter().filter(|&&id| id == 1).count();
        let second = pair.get_sequence_ids().iter().filter(|id| **id == Some(1)).count();
        match expected {
            Some(n_separators) => assert_eq!(n_segment_1, n_separators + second + 1, "{title}"),
            None => assert_eq!(n_segment_1, 0, "{title}"),
        }
    }
}

/// Prints the token types of a pair for each folder.
const SCRIPT: &str = r#"
import json, sys
from transformers import AutoTokenizer
for line in sys.stdin:
    pair = AutoTokenizer.from_pretrained(line.strip())("what is", "it is a house")
    print(json.dumps(pair.get("token_type_ids", [0] * len(pair["input_ids"]))))
"#;

#[test]
fn transformers_returns_the_segments_of_saved_folders() {
    let Some(python) = python_with(PythonPackages::Tokenizers) else { return };
    let root = tempfile::tempdir().unwrap();
    let folders = saved_folders(root.path());
    let input: String =
        folders.iter().map(|(folder, _)| format!("{}\n", folder.display())).collect();
    let mut package_folders = vec![None];
    package_folders.extend(transformers_4_packages().map(Some));
    for packages in package_folders {
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(packages) = &packages {
            command.env("PYTHONPATH", packages);
        }
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        let lines = String::from_utf8(output.stdout).unwrap();
        assert_eq!(lines.lines().count(), folders.len());
        for (line, (folder, expected)) in lines.lines().zip(&folders) {
            let types: Vec<u32> = serde_json::from_str(line).unwrap();
            let title = format!("{} {packages:?}: {types:?}", folder.display());
            let tokenizer = load(folder).tokenizer;
            let pair = tokenizer.encode(("what is", "it is a house"), true).unwrap();
            assert_eq!(types.len(), pair.len(), "{title}");
            match expected {
                Some(_) => assert_eq!(types, pair.get_type_ids(), "{title}"),
                None => assert!(types.iter().all(|&id| id == 0), "{title}"),
            }
        }
    }
}
