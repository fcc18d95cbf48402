//! `mlqa-eval windows` and `decode`.
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use testkit::Program;

use crate::common::{run_qa_golden, run_qa_logit};
use crate::program;

/// Returns the arguments of `windows` or `decode` for `data.json`.
fn arguments(command: &str, options: &str) -> String {
    let tokenizer = "--tokenizer fixtures/tokenizer.json";
    format!("{command} data.json {tokenizer} --max-length 128 --doc-stride 32 {options}")
}

/// Creates a program folder with the questions of the golden file in `data.json`.
fn program_with_questions(golden: &Value) -> Program {
    let program = program();
    let paragraphs: Vec<Value> = golden["examples"].as_array().unwrap().iter()
        .map(|row| json!({"context": row[2], "qas": [{"id": row[0], "question": row[1], "answers": []}]}))
        .collect();
    program.write("data.json", json!({"data": [{"paragraphs": paragraphs}]}).to_string());
    program
}

/// Returns the golden file's logits of kind 1, which have peaks; see [`run_qa_logit`].
fn logits(side: u64, rows: usize) -> Vec<u8> {
    (0..rows as u64)
        .flat_map(|row| (0..128).flat_map(move |at| run_qa_logit(1, side, row, at).to_le_bytes()))
        .collect()
}

/// Writes the golden file's logits, with the metadata key `windows` if the argument is set.
fn write_logits(path: &Path, rows: usize, names: [&str; 2], dtype: Dtype, windows: Option<&str>) {
    let bytes = [0, 1].map(|side| logits(side, rows));
    let shape = match dtype {
        Dtype::F32 => vec![rows, 128],
        _ => vec![rows, 256],
    };
    let view = |bytes| TensorView::new(dtype, shape.clone(), bytes).unwrap();
    // `xlmr-model run` writes another tensor before the logits.
    let other_values = [0; 12];
    let first = TensorView::new(Dtype::F32, vec![3], &other_values).unwrap();
    let tensors =
        [("last_hidden_state", first), (names[0], view(&bytes[0])), (names[1], view(&bytes[1]))];
    let metadata = windows.map(|program| [("windows".to_owned(), program.to_owned())].into());
    std::fs::write(path, safetensors::serialize(tensors, metadata).unwrap()).unwrap();
}

#[test]
fn decode_warns_about_windows_of_another_program() {
    let program = program_with_questions(&run_qa_golden());
    let compatible_options = ["", "--compatible run_qa"];
    let programs = ["mlqa-eval", "run_qa"];
    for (windows_option, windows_program) in compatible_options.into_iter().zip(programs) {
        program.expect_success(&arguments("windows", &format!("--out w {windows_option}")));
        let bytes = program.read_bytes("w");
        let header = SafeTensors::read_metadata(&bytes).unwrap().1;
        assert_eq!(header.metadata().as_ref().unwrap()["windows"], windows_program);
        for (decode_option, decode_program) in compatible_options.into_iter().zip(programs) {
            program.expect_success(&arguments("windows", &format!("--out x {decode_option}")));
            let bytes = program.read_bytes("x");
            let rows =
                SafeTensors::deserialize(&bytes).unwrap().tensor("question").unwrap().shape()[0];
            for windows in [Some(windows_program), None] {
                let names = ["start_logits", "end_logits"];
                write_logits(&program.path_of("l"), rows, names, Dtype::F32, windows);
                let options = format!("--logits l --out p {decode_option}");
                let warning = program.expect_success(&arguments("decode", &options)).err;
                let expected = match windows.filter(|&program| program != decode_program) {
                    Some(source) => format!("warning: l: the logits are for windows of {source}"),
                    None => String::new(),
                };
                assert!(warning.starts_with(&expected), "{warning}");
                assert_eq!(warning.is_empty(), expected.is_empty(), "{warning}");
            }
        }
    }
}

#[test]
fn rows_and_answers_equal_run_qa() {
    let golden = run_qa_golden();
    let program = program_with_questions(&golden);
    let printed = program.expect_success(&arguments("windows", "--compatible run_qa --out w")).out;
    let features = golden["features"].as_array().unwrap();
    assert_eq!(printed, format!("24 questions, {} rows of 128 tokens\n", features.len()));
    let bytes = program.read_bytes("w");
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let [ids, mask] = ["input_ids", "attention_mask"].map(|name| file.tensor(name).unwrap());
    assert_eq!(
        (ids.shape(), mask.shape()),
        (&[features.len(), 128][..], &[features.len(), 128][..])
    );
    for (k, feature) in features.iter().enumerate() {
        let tokens = feature["input_ids"].as_array().unwrap();
        let row = &ids.data()[k * 512..(k + 1) * 512];
        let row: Vec<i32> = row.as_chunks::<4>().0.iter().map(|b| i32::from_le_bytes(*b)).collect();
        assert_eq!(json!(row[..tokens.len()]), feature["input_ids"]);
        // The id of `<pad>` is 1.
        assert!(row[tokens.len()..].iter().all(|&id| id == 1));
        let mask = &mask.data()[k * 128..(k + 1) * 128];
        assert_eq!(mask.iter().filter(|&&one| one == 1).count(), tokens.len());
        assert_eq!(mask[0], 1);
    }
    let question = file.tensor("question").unwrap();
    assert_eq!(question.data()[question.data().len() - 4..], 23_i32.to_le_bytes());

    write_logits(
        &program.path_of("l"),
        features.len(),
        ["start_logits", "end_logits"],
        Dtype::F32,
        None,
    );
    let out = "--compatible run_qa --logits l --out p.json --n-best n.json --null-odds o.json";
    let read = |name: &str| -> Value { serde_json::from_slice(&program.read_bytes(name)).unwrap() };
    for (run, options) in
        [(1, ""), (2, "--n-best-size 3 --max-answer-length 5"), (3, "--null-threshold 0")]
    {
        program.expect_success(&arguments("decode", &format!("{out} {options}")));
        let expected = &golden["runs"][run];
        assert_eq!(read("p.json"), expected["predictions"]);
        let lists: BTreeMap<String, Value> = serde_json::from_value(read("n.json")).unwrap();
        assert_eq!(lists.len(), 24);
        for (id, list) in lists {
            let texts: Vec<&Value> =
                list["candidates"].as_array().unwrap().iter().map(|one| &one["text"]).collect();
            let best = expected["n_best_predictions"][&id].as_array().unwrap();
            assert_eq!(texts, best.iter().map(|one| &one[0]).collect::<Vec<_>>(), "{id}");
        }
        assert_eq!(read("o.json").as_object().unwrap().len(), 24);
    }
}

#[test]
fn default_mode_truncates_questions() {
    let program = program_with_questions(&run_qa_golden());
    let printed =
        program.expect_success(&arguments("windows", "--max-question-length 10 --out w")).out;
    let rows: usize = printed.split(' ').nth(2).unwrap().parse().unwrap();
    // Truncated questions leave more tokens per window for the context, so there are fewer rows.
    assert!(rows < run_qa_golden()["features"].as_array().unwrap().len(), "{printed}");
    write_logits(&program.path_of("l"), rows, ["start_logits", "end_logits"], Dtype::F32, None);
    program
        .expect_success(&arguments("decode", "--max-question-length 10 --logits l --out p.json"));
    let predictions: BTreeMap<String, String> =
        serde_json::from_slice(&program.read_bytes("p.json")).unwrap();
    assert_eq!(predictions.len(), 24);
    assert_eq!(predictions["empty"], "");
    assert!(predictions.values().all(|text| text.trim() == text));
}

#[test]
fn mismatched_logits_are_rejected() {
    let golden = run_qa_golden();
    let program = program_with_questions(&golden);
    let rows = golden["features"].as_array().unwrap().len();
    let decode = arguments("decode", "--compatible run_qa --logits l --out p --n-best n");
    let expect_rejected = |words: &[&str]| program.expect_error(&decode, words);
    let names = ["start_logits", "end_logits"];
    for rows in [rows - 1, rows + 1, 0] {
        write_logits(&program.path_of("l"), rows, names, Dtype::F32, None);
        expect_rejected(&["l: ", &format!("has {rows} rows"), "options"]);
    }
    write_logits(&program.path_of("l"), rows, ["start_logits", "ends"], Dtype::F32, None);
    expect_rejected(&["no tensor `end_logits`"]);
    write_logits(&program.path_of("l"), rows, names, Dtype::F16, None);
    expect_rejected(&["`start_logits` is F16"]);
    write_logits(&program.path_of("l"), rows, names, Dtype::F32, None);
    let original = program.read_bytes("l");
    program.write("l", &original[..original.len() - 1]);
    expect_rejected(&["_logits` are truncated"]);
    for bytes in [&original[..9], &b"{}"[..], &[0xff; 64]] {
        program.write("l", bytes);
        expect_rejected(&["not a safetensors file"]);
    }
    assert!(!program.path_of("p").exists() && !program.path_of("n").exists());
    program
        .expect_error(&arguments("windows", "--max-question-length 99 --out w"), &["max_length"]);
}

#[test]
fn row_length_is_limited() {
    program().expect_error(
        "windows fixtures/scorer/de/dataset.json --tokenizer fixtures/tokenizer.json \
         --out windows.safetensors --max-length 1000000000000 --compatible run_qa",
        &["max_length = 1000000000000: must be at most 1048576"],
    );
}
