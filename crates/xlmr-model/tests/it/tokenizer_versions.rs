//! Tests of the differences between the tokenizers of transformers 4 and 5 and of this crate, as
//! docs/reference/file-formats.md documents them.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use testkit::{PythonPackages, fixture, python_with, transformers_4_packages};

/// Texts with white space, width variants, capital letters and accents.
const TEXTS: [&str; 8] = [
    "What is it?",
    "trailing ",
    "two  spaces",
    " leading",
    "Ｆｕｌｌ ½ ﬁne",
    "tab\there",
    "Café ÀÉ",
    "利马是秘鲁的首都。",
];

/// Prints ids and offsets of each text. The arguments are a folder and a JSON list of texts.
const SCRIPT: &str = "
import json, sys
from transformers import AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
encodings = [tokenizer(text, return_offsets_mapping=True) for text in json.loads(sys.argv[2])]
print(json.dumps([[e['input_ids'], e['offset_mapping']] for e in encodings]))
";

/// Token ids and offsets of a text.
type Encoded = (Vec<u32>, Vec<(usize, usize)>);

fn write_folder(
    folder: PathBuf,
    tokenizer: &str,
    model_type: &str,
    config: Option<Value>,
) -> PathBuf {
    fs::create_dir(&folder).unwrap();
    fs::copy(fixture(tokenizer), folder.join("tokenizer.json")).unwrap();
    fs::write(folder.join("config.json"), json!({"model_type": model_type}).to_string()).unwrap();
    if let Some(config) = config {
        fs::write(folder.join("tokenizer_config.json"), config.to_string()).unwrap();
    }
    folder
}

fn encode_with_transformers(python: &Path, packages: Option<&Path>, folder: &Path) -> Vec<Encoded> {
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).arg(folder).arg(json!(TEXTS).to_string());
    if let Some(packages) = packages {
        command.env("PYTHONPATH", packages);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn differences_between_versions_of_transformers_are_those_documented() {
    let Some(python) = python_with(PythonPackages::Tokenizers) else { return };
    let root = tempfile::tempdir().unwrap();
    let class = |name: &str| Some(json!({"tokenizer_class": name}));
    let cased = Some(json!({"tokenizer_class": "BertTokenizer", "do_lower_case": false}));
    // Texts with other ids than here, in both versions.
    let lower_cased = vec!["What is it?", "Café ÀÉ"];
    let (xlm_r, bert) = ("tokenizer.json", "wordpiece.json");
    for (name, tokenizer, model_type, config, expected) in [
        ("xlm-r", xlm_r, "xlm-roberta", class("XLMRobertaTokenizer"), vec![]),
        ("xlm-r-bare", xlm_r, "xlm-roberta", None, vec![]),
        ("xlm-r-plain", xlm_r, "xlm-roberta", class("PreTrainedTokenizerFast"), vec![]),
        ("minilm", xlm_r, "bert", class("XLMRobertaTokenizer"), vec![]),
        ("cased", bert, "bert", cased, vec![]),
        ("cased-bare", bert, "bert", None, lower_cased.clone()),
        ("cased-class", bert, "bert", class("BertTokenizer"), lower_cased),
    ] {
        let folder = write_folder(root.path().join(name), tokenizer, model_type, config);
        let ours = xlmr_model::read_tokenizer(&folder).unwrap();
        let ours = TEXTS.map(|text| {
            let encoding = ours.encode_char_offsets(text, true).unwrap();
            (encoding.get_ids().to_vec(), encoding.get_offsets().to_vec())
        });
        let mut package_folders = vec![None];
        package_folders.extend(transformers_4_packages().map(Some));
        for packages in package_folders {
            let theirs = encode_with_transformers(&python, packages.as_deref(), &folder);
            let differing = |is_equal: &dyn Fn(&Encoded, &Encoded) -> bool| -> Vec<&str> {
                let pairs = TEXTS.iter().zip(ours.iter().zip(&theirs));
                pairs.filter(|(_, (a, b))| !is_equal(a, b)).map(|(text, _)| *text).collect()
            };
            assert_eq!(differing(&|a, b| a.0 == b.0), expected, "{name} {packages:?}: ids");
            let offsets = differing(&|a, b| a.0 != b.0 || a.1 == b.1);
            assert!(offsets.is_empty(), "{name} {packages:?}: offsets of {offsets:?}");
        }
    }
}
