//! Tests of the program `xlmr-model`.
use std::path::Path;

use tch::Tensor;
use testkit::assert_close;

use crate::common::{case_folder, edit_tensors, program, read_stored, read_tensors};

/// Writes one batch of a case to an input file, without the batch's prefix in the tensor names.
fn write_inputs(name: &str, batch_name: &str, path: &Path) {
    let stored = read_tensors(&case_folder(name).join("inputs.safetensors"));
    let prefix = format!("{batch_name}.");
    let tensors: Vec<(&str, Tensor)> = stored
        .iter()
        .filter_map(|(key, tensor)| Some((key.strip_prefix(&prefix)?, tensor.copy())))
        .collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}

#[test]
fn run_writes_the_outputs_of_transformers() {
    let program = program();
    for name in ["mlm", "mlm_sharded_bf16", "qa", "qa_two_segments", "seqcls", "tokcls"] {
        for (batch_name, batch_size) in [("b0", "3"), ("b1", "32")] {
            write_inputs(name, batch_name, &program.path_of("in.safetensors"));
            let output = program.expect_success(&format!(
                "run --model fixtures/hf/{name} --inputs in.safetensors --out out.safetensors \
                 --device cpu --batch-size {batch_size}"
            ));
            assert_eq!((&*output.out, &*output.err), ("", ""), "{name}");
            let expected = read_stored(name, "outputs.safetensors");
            let actual = read_tensors(&program.path_of("out.safetensors"));
            let n_logits = actual.keys().filter(|key| key.ends_with("logits")).count();
            assert_eq!(n_logits, if name.starts_with("qa") { 2 } else { 1 }, "{name}");
            for (key, tensor) in &actual {
                let expected = match expected.get(&format!("{batch_name}.{key}")) {
                    Some(expected) => expected.shallow_clone(),
                    None => expected[format!("{batch_name}.hidden_states").as_str()].get(-1),
                };
                assert_close(&format!("{name} {batch_name} {key}"), tensor, &expected, 1e-5);
            }
            assert!(actual.contains_key("last_hidden_state"));
        }
    }
}

#[test]
fn init_writes_a_model_with_its_tokenizer_and_keeps_existing_files() {
    let program = program();
    let config = program.read("fixtures/hf/mlm/config.json");
    // The fixture's vocabulary has 300 entries, but the tokenizer in `data/base` needs 4000.
    assert!(config.contains("\"vocab_size\": 300"));
    program.write("mlm.json", config.replace("\"vocab_size\": 300", "\"vocab_size\": 4000"));
    let tokenizer = "--tokenizer data/base/tokenizer.json";
    let init = format!("init --config mlm.json {tokenizer} --heads mlm,qa --out mlm");
    program.expect_success(&format!("{init} --seed 7"));
    let bytes = |name: &str| program.read_bytes(&format!("mlm/{name}"));
    let [written, published] = [program.path_of("mlm"), case_folder("mlm")];
    assert!(
        read_tensors(&written.join("model.safetensors"))
            .keys()
            .eq(read_tensors(&published.join("model.safetensors")).keys())
    );
    assert!(written.join("heads.safetensors").exists());
    assert_eq!(bytes("tokenizer.json"), program.read_bytes("data/base/tokenizer.json"));
    for file in ["tokenizer_config.json", "special_tokens_map.json"] {
        // The configuration of the new model has a maximum of 64 tokens and one segment, unlike
        // `data/base`.
        let expected_text = program.read(&format!("data/base/{file}")).replace(": 158", ": 64");
        let expected_text =
            expected_text.replace("\"input_ids\",\n    \"token_type_ids\"", "\"input_ids\"");
        assert_eq!(program.read(&format!("mlm/{file}")), expected_text);
    }
    // Without --force, existing files are not overwritten. Equal seeds give equal weights.
    let before = bytes("model.safetensors");
    program.expect_error(&init, &["config.json: ", "--force"]);
    assert_eq!(bytes("model.safetensors"), before);
    program.expect_success(&format!("{init} --force"));
    assert_ne!(bytes("model.safetensors"), before);
    program.expect_success(&format!("{init} --force --seed 7"));
    assert_eq!(bytes("model.safetensors"), before);
    let mismatched_init =
        format!("init --config fixtures/hf/mlm/config.json {tokenizer} --out other");
    program.expect_error(&mismatched_init, &["vocab_size = 300"]);
    assert!(!program.path_of("other").exists());
}

#[test]
fn info_describes_a_folder() {
    let text = program().expect_success("info --model fixtures/hf/mlm_sharded_bf16").out;
    for part in ["XLMRobertaForMaskedLM", "38636", "missing          none", "BF16"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn invalid_input_is_reported_in_one_line_with_status_2() {
    let program = program();
    write_inputs("qa", "b0", &program.path_of("in"));
    for name in ["ids", "mask", "no_ids"] {
        program.copy("in", name);
    }
    edit_tensors(&program.path_of("ids"), |tensors| {
        let _ = tensors["input_ids"].get(3).fill_(300);
    });
    edit_tensors(&program.path_of("mask"), |tensors| {
        let mask = tensors["attention_mask"].narrow(0, 0, 2).copy();
        tensors.insert("attention_mask".into(), mask);
    });
    edit_tensors(&program.path_of("no_ids"), |tensors| {
        tensors.remove("input_ids");
    });
    program.write("cut.safetensors", &program.read_bytes("in")[..40]);
    for (model, inputs, device, part) in [
        ("qa", "ids", "cpu", "vocab_size - 1 = 299, got 300 in row 3, column 0"),
        ("qa", "mask", "cpu", "attention_mask"),
        ("qa", "no_ids", "cpu", "input_ids"),
        ("qa", "cut.safetensors", "cpu", "cut.safetensors"),
        ("qa", "none", "cpu", "none"),
        ("none", "in", "cpu", "config.json"),
        ("qa", "in", "cuda:99", "cuda:99"),
    ] {
        let arguments = format!(
            "run --model fixtures/hf/{model} --inputs {inputs} --out out --device {device} \
             --batch-size 2"
        );
        let error = program.expect_error(&arguments, &[part]).err;
        assert_eq!(error.lines().count(), 1, "{error}");
        assert!(!program.path_of("out").exists());
    }
}

#[test]
fn info_and_init_print_ids_that_the_tokenizer_replaces() {
    let program = program();
    let config = r#"{"model_type": "bert", "vocab_size": 8192, "hidden_size": 16,
        "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}"#;
    program.write("published.json", config);
    let output = program.expect_success(
        "init --config published.json --tokenizer fixtures/tokenizer.json --heads qa --out model",
    );
    let note = "note: config.json: pad_token_id is 0, but the tokenizer's <pad> has id 1; the \
                tokenizer's id is used";
    assert_eq!(output.err.trim(), note);
    let info = program.expect_success("info --model model").out;
    assert!(info.contains("tokenizer        8192 tokens\n"), "{info}");
    let model_config =
        program.read("model/config.json").replace("\"pad_token_id\": 1", "\"pad_token_id\": 0");
    program.write("model/config.json", model_config);
    let info = program.expect_success("info --model model").out;
    assert!(info.contains(&format!("tokenizer        8192 tokens\n  {note}\n")), "{info}");
    let info = program.expect_success("info --model fixtures/hf/qa").out;
    assert!(info.contains("tokenizer        none\n"), "{info}");
}
