//! Tests that parameters and hidden states of trimmed model folders are bit-identical.
use std::path::Path;

use tch::{Device, Kind, Tensor};
use testkit::{Program, PythonPackages, python_with};
use xlmr_model::{Head, Inputs, LoadOptions, Pretrained};

use crate::common::{edit_tensors, program_with_model, read_tensors};

const HEADS: [Head; 2] = [Head::MaskedLm, Head::Span];

const TEXTS: [&str; 3] =
    ["Lima is the capital of Peru.", "利马是秘鲁的首都。", "Wo liegt die Hauptstadt von Peru?"];

fn load(folder: &Path) -> Pretrained {
    Pretrained::load(folder, &HEADS, Device::Cpu, LoadOptions::default()).unwrap().0
}

fn tokenize(model: &Pretrained, text: &str) -> Vec<u32> {
    model.tokenizer.encode(text, true).unwrap().get_ids().to_vec()
}

/// Computes last hidden states, start logits and masked-LM logits of a text.
fn compute_outputs(model: &Pretrained, text: &str) -> [Tensor; 3] {
    let inputs =
        Inputs::from_rows(&[&tokenize(model, text)], i64::from(model.special_tokens.pad)).unwrap();
    let model = &model.model;
    let hidden = model.encode(&inputs, false).unwrap();
    let starts = model.span_logits(&hidden, false).unwrap().0;
    let mlm_logits = model.mlm_logits(&hidden).unwrap();
    [hidden, starts, mlm_logits]
}

/// Creates the program with a copy of the base model, and with text files.
fn program_with_texts() -> Program {
    let program = program_with_model();
    for file in ["config.json", "model.safetensors"] {
        program.write(&format!("model/1_Dense/{file}"), file);
    }
    program.write("texts.txt", format!("{}\n{}\n", TEXTS[0], TEXTS[1]));
    program.write("train.json", format!("{{\"data\": [{{\"question\": {:?}}}]}}", TEXTS[2]));
    program
}

#[test]
fn outputs_of_the_texts_do_not_change() {
    let program = program_with_texts();
    let command = "trim --model model --texts texts.txt train.json --out trimmed";
    let printed = program.expect_success(command).out;
    let (before, after) = (load(&program.path_of("model")), load(&program.path_of("trimmed")));
    let vocab_size = after.model.config().vocab_size;
    assert!(vocab_size < before.model.config().vocab_size);
    assert!(printed.contains(&format!("4000 -> {vocab_size} rows")), "{printed}");
    // For each entry of the trimmed vocabulary, its id in the original vocabulary.
    let former_ids: Vec<i64> = (0..vocab_size)
        .map(|id| {
            let token = after.tokenizer.id_to_token(u32::try_from(id).unwrap()).unwrap();
            i64::from(before.tokenizer.token_to_id(&token).unwrap())
        })
        .collect();
    let former_ids = Tensor::from_slice(&former_ids);
    for text in TEXTS {
        let [hidden, starts, mlm_logits] = compute_outputs(&before, text);
        let [trimmed_hidden, trimmed_starts, trimmed_mlm_logits] = compute_outputs(&after, text);
        assert!(trimmed_hidden.equal(&hidden) && trimmed_starts.equal(&starts), "{text}");
        // Logits may differ by two units in the last place, because matmuls with different numbers
        // of columns may round differently.
        let mlm_logits = mlm_logits.index_select(-1, &former_ids);
        let bound = 2.0 * f64::from(f32::EPSILON) * mlm_logits.abs().max().double_value(&[]);
        let change = (trimmed_mlm_logits - mlm_logits).abs().max().double_value(&[]);
        assert!(change <= bound, "{text}: {change:e} > {bound:e}");
    }
    // Parameters are bit-identical.
    let parameters = after.model.named_parameters();
    for ((name, original), (_, new)) in before.model.named_parameters().into_iter().zip(parameters)
    {
        let is_per_token = original.size()[0] == before.model.config().vocab_size;
        let original = if is_per_token { original.index_select(0, &former_ids) } else { original };
        assert!(new.equal(&original), "{name}");
    }
    // The masked-LM decoder is still tied to the token embeddings.
    assert!(after.model.config().tie_word_embeddings);
    // All other files are copied, including files in subfolders. An existing folder is replaced
    // only with --force.
    for file in ["config.json", "model.safetensors"] {
        assert_eq!(program.read(&format!("trimmed/1_Dense/{file}")), file);
    }
    assert_eq!(program.read("trimmed/README.md"), program.read("model/README.md"));
    program.expect_only_error(command, &["trimmed", "--force"]);
    let weights = program.read_bytes("trimmed/model.safetensors");
    program.expect_success(&format!("{command} --force"));
    assert!(program.read_bytes("trimmed/model.safetensors") == weights);
    let remaining: Vec<_> =
        program.path_of("").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(
        !remaining.iter().any(|path| path.to_string_lossy().contains(".model-")),
        "{remaining:?}"
    );
}

#[test]
fn rows_beyond_the_tokenizer_are_removed_and_dtypes_are_preserved() {
    let program = program_with_texts();
    let path = program.path_of("model/model.safetensors");
    edit_tensors(&path, |tensors| {
        for tensor in tensors.values_mut() {
            if tensor.size()[0] == 4000 {
                let extra = tensor.narrow(0, 0, 35).zeros_like();
                *tensor = Tensor::cat(&[&*tensor, &extra], 0);
            }
            *tensor = tensor.to_kind(Kind::BFloat16);
        }
    });
    let config = program.read("model/config.json");
    program
        .write("model/config.json", config.replace("\"vocab_size\": 4000", "\"vocab_size\": 4035"));
    program.expect_success("trim --model model --texts texts.txt --out trimmed");
    let stored = read_tensors(&program.path_of("trimmed/model.safetensors"));
    assert!(stored.keys().eq(read_tensors(&path).keys()));
    assert!(stored.values().all(|tensor| tensor.kind() == Kind::BFloat16));
    let (before, after) = (load(&program.path_of("model")), load(&program.path_of("trimmed")));
    assert_eq!(before.model.config().vocab_size, 4035);
    assert!(compute_outputs(&after, TEXTS[0])[0].equal(&compute_outputs(&before, TEXTS[0])[0]));
}

#[test]
fn added_entries_are_retained_and_invalid_entries_are_rejected() {
    let program = program_with_texts();
    let vocabulary = load(&program.path_of("model")).tokenizer.get_vocab(false);
    let longest_token =
        vocabulary.keys().max_by_key(|token| (token.chars().count(), *token)).unwrap();
    program.write("keep.txt", format!("{longest_token}\n"));
    let contains_token =
        |folder| load(&program.path_of(folder)).tokenizer.token_to_id(longest_token).is_some();
    program.expect_success("trim --model model --texts texts.txt --out without");
    program.expect_success("trim --model model --texts texts.txt --keep keep.txt --out kept");
    assert!(contains_token("kept") && !contains_token("without"));
    // The entries of a trimmed vocabulary are enough to trim to it again.
    let kept = load(&program.path_of("kept")).tokenizer.get_vocab(false);
    program.write("entries.txt", kept.keys().fold(String::new(), |lines, key| lines + key + "\n"));
    program.expect_success("trim --model model --keep entries.txt --out again");
    for file in ["tokenizer.json", "model.safetensors"] {
        let path = |folder| format!("{folder}/{file}");
        assert!(program.read_bytes(&path("again")) == program.read_bytes(&path("kept")), "{file}");
    }
    program.write("keep.txt", format!("{longest_token}\nno such entry\n"));
    program.write("empty.txt", "\n\n");
    program.write("latin.txt", b"Per\xfa\n");
    program.write("broken.json", "{");
    program.write("other/notes.txt", "mine");
    program.expect_only_errors(&[
        ("trim --model model --texts texts.txt --out model --force", &["folder of --model"]),
        (
            "trim --model model --texts texts.txt --out model/1_Dense --force",
            &["folder of --model"],
        ),
        ("trim --model model --texts texts.txt --out other --force", &["no config.json"]),
        (
            "trim --model model --texts texts.txt --keep keep.txt --out no",
            &["keep.txt: line 2", "no such entry"],
        ),
        ("trim --model model --texts empty.txt --out no", &["empty.txt", "found none"]),
        ("trim --model model --texts latin.txt --out no", &["latin.txt", "line 1: not UTF-8"]),
        ("trim --model model --texts broken.json --out no", &["broken.json", "not valid JSON"]),
        ("trim --model model --texts gone.txt --out no", &["gone.txt"]),
        ("trim --model nowhere --texts texts.txt --out no", &["nowhere"]),
    ]);
    let config = program.read("model/config.json");
    let other_pad = config.replace("\"pad_token_id\": 1", "\"pad_token_id\": 0");
    assert_ne!(other_pad, config);
    program.write("model/config.json", other_pad);
    program.expect_only_error(
        "trim --model model --texts texts.txt --out no",
        &["config.json", "pad_token_id", "expected 1", "got 0"],
    );
    program.write("model/config.json", config);
    for (name, content, part) in [
        ("added_tokens.json", r#"{"<x>": "1"}"#, "<x>"),
        ("added_tokens.json", "[]", "an object of ids by token"),
        ("tokenizer_config.json", r#"{"added_tokens_decoder": {"x": {}}}"#, "\"x\""),
    ] {
        let path = format!("model/{name}");
        program.write(&path, content);
        let command = "trim --model model --texts texts.txt --out no";
        program.expect_only_error(command, &[name, part]);
        std::fs::remove_file(program.path_of(&path)).unwrap();
    }
    assert!(!program.path_of("no").exists());
}

#[test]
fn transformers_opens_the_tokenizer() {
    let Some(python) = python_with(PythonPackages::Tokenizers) else { return };
    let program = program_with_texts();
    program.expect_success("trim --model model --texts texts.txt train.json --out trimmed");
    let script = "import json, sys\n\
                  from transformers import AutoTokenizer\n\
                  tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n\
                  print(json.dumps(tokenizer(sys.argv[2:])['input_ids']))";
    let mut command = std::process::Command::new(python);
    command.args(["-c", script]).arg(program.path_of("trimmed")).args(TEXTS);
    let output = testkit::run_command(command.env("HF_HUB_OFFLINE", "1"));
    assert_eq!(output.code, Some(0), "{}", output.err);
    let transformers_ids: Vec<Vec<u32>> = serde_json::from_str(&output.out).unwrap();
    let trimmed = load(&program.path_of("trimmed"));
    assert_eq!(transformers_ids, TEXTS.map(|text| tokenize(&trimmed, text)));
}
