//! Tests of model folders that transformers, sentence-transformers and PEFT save, and that these
//! libraries open, if they are installed. docs/reference/transformers.md has the results.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tch::{Device, Kind, Tensor};
use testkit::{Program, PythonPackages, fixture, python_with, transformers_4_packages};
use xlmr_model::{Head, Inputs, LoadOptions, Pretrained};

use crate::common::{case_folder, open_folder, program_with_model};

const PROGRAM: [&str; 2] = ["--program", env!("CARGO_BIN_EXE_xlmr-model")];

/// Creates a command that runs a script of this crate.
fn script(python: &Path, name: &str) -> Command {
    let mut command = Command::new(python);
    command
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name))
        .env("HF_HUB_OFFLINE", "1");
    command
}

/// Runs a command that must succeed and returns its output.
fn run(command: &mut Command) -> String {
    let output = testkit::run_command(command);
    assert_eq!(output.code, Some(0), "{}{}", output.out, output.err);
    output.out
}

#[test]
fn folders_of_other_libraries_have_equal_outputs() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    // Numbers of models in the short and the long form of the script.
    let mut versions = vec![(None, [47, 244])];
    versions.extend(transformers_4_packages().map(|packages| (Some(packages), [17, 84])));
    for (packages, counts) in versions {
        let mut command = script(&python, "check_savers.py");
        command.args(PROGRAM);
        if !testkit::is_long() {
            command.arg("--quick");
        }
        if let Some(packages) = packages {
            command.env("PYTHONPATH", packages);
        }
        let text = run(&mut command);
        let count = counts[usize::from(testkit::is_long())];
        assert_eq!(text.matches(": ok, largest difference").count(), count, "{text}");
    }
}

#[test]
fn every_kind_of_peft_adapter_is_merged_or_rejected() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let text = run(script(&python, "check_peft_kinds.py").args(PROGRAM));
    assert_eq!(text.matches(": ok: merged").count(), 19, "{text}");
    assert_eq!(text.matches(": ok: refused").count(), 11, "{text}");
}

/// Returns the program with a trimmed copy of the model in `data/base`, as `trimmed`.
fn program_with_trimmed_model() -> Program {
    let program = program_with_model();
    program.write("texts.txt", "Lima is the capital of Peru.\n利马是秘鲁的首都。\n");
    program.expect_success("trim --model model --texts texts.txt --out trimmed");
    program
}

/// Loads a model folder and saves it to another folder with the head `head`.
fn resave(from: &Path, to: PathBuf, head: Head) -> PathBuf {
    let (model, _) = open_folder(from, &[head]).unwrap();
    model.save(&to, head).unwrap();
    to
}

#[test]
fn transformers_opens_trimmed_exported_and_merged_models() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let program = program_with_trimmed_model();
    let root = tempfile::tempdir().unwrap();
    let mut folders = vec![program.path_of("trimmed")];
    program.expect_success("quantize --model trimmed --out small");
    for dtype in ["f16", "f32"] {
        program.expect_success(&format!("export --model small --out {dtype} --dtype {dtype}"));
        folders.push(program.path_of(dtype));
    }
    for adapter in ["dora", "bias_all", "embedding", "saved_embeddings"] {
        let folder = root.path().join(format!("{adapter}-base"));
        fs::create_dir(&folder).unwrap();
        for file in case_folder("qa").read_dir().unwrap() {
            let path = file.unwrap().path();
            fs::copy(&path, folder.join(path.file_name().unwrap())).unwrap();
        }
        for file in ["adapter_config.json", "adapter_model.safetensors"] {
            let stored = fixture("peft_merged").join(adapter).join(file);
            fs::copy(stored, folder.join(file)).unwrap();
        }
        folders.push(resave(&folder, root.path().join(adapter), Head::Span));
    }
    let text = run(script(&python, "check_with_transformers.py").args(PROGRAM).args(&folders));
    assert_eq!(text.matches(": ok, largest difference").count(), folders.len(), "{text}");
}

/// Loads a quantised folder and prints the error. The argument is the folder.
const QUANTIZED_SCRIPT: &str = "
import sys
from transformers import AutoModelForMaskedLM
try:
    AutoModelForMaskedLM.from_pretrained(sys.argv[1])
except Exception as error:
    print(error)
";

#[test]
fn transformers_rejects_8_bit_folders() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let program = program_with_model();
    program.expect_success("quantize --model model --out small");
    let mut versions = vec![None];
    versions.extend(transformers_4_packages().map(Some));
    for packages in versions {
        let mut command = Command::new(&python);
        command.args(["-c", QUANTIZED_SCRIPT]).arg(program.path_of("small"));
        command.env("HF_HUB_OFFLINE", "1");
        if let Some(packages) = packages {
            command.env("PYTHONPATH", packages);
        }
        let message = run(&mut command);
        assert!(message.contains("no file named model.safetensors"), "{message}");
    }
}

/// Prints the embeddings of texts by a sentence encoder. The arguments are a folder and a JSON list
/// of texts.
const EMBEDDING_SCRIPT: &str = "
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device='cpu')
print(json.dumps(model.encode(json.loads(sys.argv[2])).tolist()))
";

#[test]
fn sentence_transformers_opens_written_encoders() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    let program = program_with_trimmed_model();
    let texts = ["Lima is the capital of Peru.", "利马是秘鲁的首都。"];
    let open = |folder: &Path| {
        let (head, options) = ([Head::MaskedLm], LoadOptions::default());
        Pretrained::load(folder, &head, Device::Cpu, options).unwrap().0
    };
    let base = open(&program.path_of("model"));
    // A folder with a masked-LM head and a folder without a head, before and after trimming.
    base.save(program.path_of("encoder"), Head::None).unwrap();
    base.save(program.path_of("masked-lm"), Head::MaskedLm).unwrap();
    for name in ["encoder", "masked-lm", "trimmed"] {
        let folder = program.path_of(name);
        let mut command = Command::new(&python);
        command.args(["-c", EMBEDDING_SCRIPT]).arg(&folder).arg(json!(texts).to_string());
        let text = run(command.env("HF_HUB_OFFLINE", "1"));
        let expected: Vec<Vec<f32>> = serde_json::from_str(&text).unwrap();
        let pretrained = open(&folder);
        for (text, expected) in texts.into_iter().zip(expected) {
            let ids = pretrained.tokenizer.encode(text, true).unwrap().get_ids().to_vec();
            let pad = i64::from(pretrained.special_tokens.pad);
            let inputs = Inputs::from_rows(&[&ids], pad).unwrap();
            let hidden = pretrained.model.encode(&inputs, false).unwrap();
            let mean = hidden.mean_dim(&[1i64][..], false, Kind::Float).squeeze_dim(0);
            let difference = (mean - Tensor::from_slice(&expected)).abs().max();
            assert!(difference.double_value(&[]) < 1e-5, "{name}: {text}: {difference:?}");
        }
    }
}
