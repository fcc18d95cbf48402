//! The `xlmr-model` program.
use std::path::Path;
use std::process::{Command, Output};

use crate::common::{CASES, case, edit_tensors, read};
use tch::Tensor;
use testkit::{Golden, assert_close};

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xlmr-model")).args(args).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Batch `which` of a case as an input file without the prefix.
fn inputs_of(name: &str, which: &str, path: &Path) {
    let stored = read(&case(name).join("inputs.safetensors"));
    let prefix = format!("{which}.");
    let tensors: Vec<(&str, Tensor)> = stored
        .iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?, tensor.copy())))
        .collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}

#[test]
fn run_writes_what_transformers_computes() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) =
        (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    for (name, _) in CASES {
        for (which, batch) in [("b0", "3"), ("b1", "32")] {
            inputs_of(name, which, &input);
            let model = case(name);
            let result = program(&[
                "run",
                "--model",
                text(&model),
                "--inputs",
                text(&input),
                "--out",
                text(&out),
                "--device",
                "cpu",
                "--batch-size",
                batch,
            ]);
            let stderr = String::from_utf8_lossy(&result.stderr);
            assert!(result.status.success(), "{name}: {stderr}");
            assert!(stderr.is_empty() && result.stdout.is_empty(), "{name}: {stderr}");
            let want = Golden::load(&model.join("outputs.safetensors"), Tensor::read_safetensors);
            let got = read(&out);
            let logits = got.keys().filter(|key| key.ends_with("logits")).count();
            assert_eq!(logits, if name.starts_with("qa") { 2 } else { 1 }, "{name}");
            for (key, tensor) in &got {
                let want = match want.get(&format!("{which}.{key}")) {
                    Some(want) => want.shallow_clone(),
                    None => want[format!("{which}.hidden_states").as_str()].get(-1),
                };
                assert_close(&format!("{name} {which} {key}"), tensor, &want, 1e-5);
            }
            assert!(got.contains_key("last_hidden_state"));
        }
    }
}

/// `config.json` of a case with the vocabulary of the embedded tokenizer.
fn fitting_config(name: &str, folder: &Path) -> std::path::PathBuf {
    let config = std::fs::read_to_string(case(name).join("config.json")).unwrap();
    assert!(config.contains("\"vocab_size\": 300"));
    let path = folder.join(format!("{name}.json"));
    std::fs::write(&path, config.replace("\"vocab_size\": 300", "\"vocab_size\": 4000")).unwrap();
    path
}

#[test]
fn init_writes_the_keys_of_transformers_with_its_initialisation() {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/base/tokenizer.json");
    for (name, heads) in [("mlm", "mlm,qa"), ("qa", "qa")] {
        let (config, out) = (fitting_config(name, folder.path()), folder.path().join(name));
        let arguments = ["init", "--config", text(&config), "--tokenizer", text(&tokenizer)];
        let run = |more: &[&str]| {
            program(
                &[&arguments, ["--heads", heads, "--out", text(&out)].as_slice(), more].concat(),
            )
        };
        let result = run(&["--seed", "7"]);
        assert!(result.status.success(), "{}", String::from_utf8_lossy(&result.stderr));
        // The fixture was written by transformers.
        let (got, want) =
            (read(&out.join("model.safetensors")), read(&case(name).join("model.safetensors")));
        let sizes = |tensors: &std::collections::BTreeMap<String, Tensor>| {
            // 4000 and 300 alike stand for the vocabulary.
            let size =
                |tensor: &Tensor| tensor.size().iter().map(|&n| n % 3700).collect::<Vec<i64>>();
            let mut all: Vec<_> =
                tensors.iter().map(|(key, tensor)| (key.clone(), size(tensor))).collect();
            all.sort();
            all
        };
        assert_eq!(sizes(&got), sizes(&want), "{name}");
        for (key, tensor) in &got {
            let (mean, spread) = (tensor.mean(tch::Kind::Float), tensor.std(false));
            let (mean, spread) = (mean.double_value(&[]), spread.double_value(&[]));
            let norm = key.to_lowercase().contains("norm.weight");
            match (norm, key.ends_with("bias")) {
                (true, _) => assert_eq!((mean, spread), (1.0, 0.0), "{key}"),
                (_, true) => assert_eq!((mean, spread), (0.0, 0.0), "{key}"),
                // initializer_range of the fixture; the smallest weight has 32 numbers.
                _ => assert!(mean.abs() < 0.2 && (0.2..0.4).contains(&spread), "{key} {spread}"),
            }
        }
        let bytes = |name: &str| std::fs::read(out.join(name)).unwrap();
        assert_eq!(bytes("tokenizer.json"), std::fs::read(&tokenizer).unwrap());
        assert_eq!(out.join("heads.safetensors").exists(), name == "mlm");
        for file in ["tokenizer_config.json", "special_tokens_map.json"] {
            let known = tokenizer.with_file_name(file);
            let text = |bytes| String::from_utf8(bytes).unwrap();
            // The fixture has room for 64 tokens and one segment.
            let known = text(std::fs::read(known).unwrap()).replace(": 158", ": 64");
            let known = known.replace("\"input_ids\",\n    \"token_type_ids\"", "\"input_ids\"");
            assert_eq!(text(bytes(file)), known);
        }

        // What is there stays, unless it is to go; the seed decides the weights.
        let before = bytes("model.safetensors");
        let refused = run(&[]);
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert!(stderr.contains("config.json: ") && stderr.contains("--force"), "{stderr}");
        assert_eq!((refused.status.code(), &bytes("model.safetensors")), (Some(2), &before));
        assert!(run(&["--force"]).status.success());
        assert_ne!(bytes("model.safetensors"), before);
        assert!(run(&["--force", "--seed", "7"]).status.success());
        assert_eq!(bytes("model.safetensors"), before);
    }
    let small = case("mlm").join("config.json");
    let out = folder.path().join("other");
    let result = program(&[
        "init",
        "--config",
        text(&small),
        "--tokenizer",
        text(&tokenizer),
        "--out",
        text(&out),
    ]);
    let stderr = String::from_utf8_lossy(&result.stderr);
    assert!(stderr.contains("vocab_size = 300") && !out.exists(), "{stderr}");
}

#[test]
fn info_describes_a_folder() {
    let result = program(&["info", "--model", text(&case("mlm_sharded_bf16"))]);
    let stdout = String::from_utf8_lossy(&result.stdout);
    assert!(result.status.success());
    for part in ["XLMRobertaForMaskedLM", "38636", "missing          none", "BF16"] {
        assert!(stdout.contains(part), "{stdout}");
    }
}

#[test]
fn bad_input_is_one_line_and_status_2() {
    let folder = tempfile::tempdir().unwrap();
    let (input, out) =
        (folder.path().join("in.safetensors"), folder.path().join("out.safetensors"));
    inputs_of("qa", "b0", &input);
    let bad_ids = folder.path().join("ids.safetensors");
    std::fs::copy(&input, &bad_ids).unwrap();
    edit_tensors(&bad_ids, |tensors| {
        let _ = tensors["input_ids"].get(3).fill_(300);
    });
    let bad_mask = folder.path().join("mask.safetensors");
    std::fs::copy(&input, &bad_mask).unwrap();
    edit_tensors(&bad_mask, |tensors| {
        let mask = tensors["attention_mask"].narrow(0, 0, 2).copy();
        tensors.insert("attention_mask".into(), mask);
    });
    let no_ids = folder.path().join("none.safetensors");
    std::fs::copy(&input, &no_ids).unwrap();
    edit_tensors(&no_ids, |tensors| {
        tensors.remove("input_ids");
    });
    let qa = case("qa");
    let nowhere = folder.path().join("none");
    let cut = folder.path().join("cut.safetensors");
    std::fs::write(&cut, &std::fs::read(&input).unwrap()[..40]).unwrap();
    for (model, inputs, device, part) in [
        (&qa, &bad_ids, "cpu", "vocab_size - 1 = 299, got 300 in row 3, column 0"),
        (&qa, &bad_mask, "cpu", "attention_mask"),
        (&qa, &no_ids, "cpu", "input_ids"),
        (&qa, &cut, "cpu", "cut.safetensors"),
        (&qa, &nowhere, "cpu", "none"),
        (&nowhere, &input, "cpu", "config.json"),
        (&qa, &input, "cuda:99", "cuda:99"),
    ] {
        let result = program(&[
            "run",
            "--model",
            text(model),
            "--inputs",
            text(inputs),
            "--out",
            text(&out),
            "--device",
            device,
            "--batch-size",
            "2",
        ]);
        let stderr = String::from_utf8_lossy(&result.stderr);
        assert_eq!(result.status.code(), Some(2), "{part}: {stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains(part), "{stderr}");
        assert_eq!(stderr.trim_end().lines().count(), 1, "{stderr}");
        assert!(!out.exists());
    }
    let result = program(&["run", "--model", "m"]);
    assert_eq!(result.status.code(), Some(2));
    for command in ["run", "info", "init"] {
        let help = program(&[command, "--help"]);
        assert!(String::from_utf8_lossy(&help.stdout).contains("Example"), "{command}");
    }
}
