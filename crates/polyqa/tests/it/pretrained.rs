//! Tests of the pretrained encoder from `cargo xtask pretrained`: tokens, hidden states, training
//! and answering, retrieval.
//!
//! `cargo xtask test` runs the tests whose names begin with `pretrained_encoder_` in one step.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use polyqa::{Document, DocumentIndex, Documents, Ranking, Retriever};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use testkit::{Golden, Program, PythonPackages, assert_close, fixture, python_with};
use torch_ext::Precision;
use xlmr_model::{Head, Inputs, LoadOptions, Pretrained, read_tokenizer};

use crate::common::{DATA, xquad};

const TEXT: &str = "Lima is the capital of Peru.";

/// Returns the encoder's folder; if it was not downloaded, prints a line to standard error and
/// returns `None`.
fn encoder() -> Option<PathBuf> {
    let folder = Path::new(DATA).join("../.pretrained/multilingual-e5-small");
    if folder.is_dir() {
        return Some(folder);
    }
    let _ = writeln!(
        std::io::stderr(),
        "skipped: a test with the pretrained encoder; `cargo xtask pretrained` downloads it"
    );
    None
}

/// Returns 2,002 lines of XQuAD: the paragraphs and 46 questions of each language.
fn xquad_lines() -> Vec<String> {
    let mut lines = Vec::new();
    for language in ["en", "de", "es", "ar", "hi", "vi", "zh"] {
        let questions = xquad(language);
        let mut contexts: Vec<String> =
            questions.iter().map(|question| question.context.to_string()).collect();
        contexts.dedup();
        // Trailing white space is removed, because transformers 4 returns a token for a trailing
        // space and transformers 5 does not.
        contexts.iter_mut().for_each(|context| context.truncate(context.trim_end().len()));
        lines.extend(contexts);
        lines.extend(questions.iter().take(46).map(|question| question.question.clone()));
    }
    lines
}

#[test]
fn pretrained_encoder_has_the_tokens_of_transformers() {
    let (Some(folder), Some(python)) = (encoder(), python_with(PythonPackages::Tokenizers)) else {
        return;
    };
    let lines = xquad_lines();
    assert_eq!(lines.len(), 2002);
    let temporary = tempfile::tempdir().unwrap();
    let file = temporary.path().join("lines.json");
    std::fs::write(&file, serde_json::to_vec(&lines).unwrap()).unwrap();
    let script = "import json, sys\n\
                  from transformers import AutoTokenizer\n\
                  tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])\n\
                  print(json.dumps(tokenizer(json.load(open(sys.argv[2])))['input_ids']))";
    let mut command = Command::new(python);
    command.args(["-c", script]).arg(&folder).arg(&file);
    // The script must not download files; hints on standard error are suppressed.
    command.env("HF_HUB_OFFLINE", "1").env("TRANSFORMERS_VERBOSITY", "error");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: Vec<Vec<u32>> = serde_json::from_slice(&output.stdout).unwrap();
    let tokenizer = read_tokenizer(&folder).unwrap();
    let encodings = tokenizer.encode_batch(lines.clone(), true).unwrap();
    assert_eq!(encodings.len(), expected.len());
    for ((line, encoding), expected) in lines.iter().zip(&encodings).zip(&expected) {
        assert_eq!(encoding.get_ids(), expected, "{line}");
    }
}

#[test]
fn pretrained_encoder_has_the_hidden_states_of_transformers() {
    let Some(folder) = encoder() else { return };
    let golden = Golden::load(&fixture("e5/golden.safetensors"), |path: &Path| {
        Tensor::read_safetensors(path)
    });
    let options = LoadOptions::default();
    let (encoder, _) = Pretrained::load(&folder, &[Head::None], Device::Cpu, options).unwrap();
    let texts: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixture("e5/texts.json")).unwrap()).unwrap();
    let encoded = encoder.tokenizer.encode_batch(texts, true).unwrap();
    let rows: Vec<&[u32]> = encoded.iter().map(|text| text.get_ids()).collect();
    let inputs = Inputs::from_rows(&rows, i64::from(encoder.special_tokens.pad)).unwrap();
    assert!(inputs.input_ids.equal(&golden["input_ids"].to_kind(Kind::Int64)));
    let hidden = encoder.model.encode(&inputs, false).unwrap();
    // The golden file contains zeros for the hidden states of padding.
    let mask = golden["attention_mask"].to_kind(Kind::Float).unsqueeze(-1);
    assert_close("hidden states", &(hidden * mask), &golden["last_hidden_state"], 1e-4);
}

#[test]
fn pretrained_encoder_learns_and_answers() {
    let Some(folder) = encoder() else { return };
    let program = Program::new(env!("CARGO_BIN_EXE_polyqa"));
    let row = |(id, question, answer): (usize, &str, &str)| {
        let start = TEXT.find(answer).unwrap();
        json!({"id": id.to_string(), "question": question, "context": TEXT,
            "answers": {"text": [answer], "answer_start": [start]}})
    };
    let questions =
        [(0, "What is the capital of Peru?", "Lima"), (1, "Whose capital is Lima?", "Peru")];
    let rows: Vec<String> = questions.into_iter().map(|q| row(q).to_string()).collect();
    program.write("train.jsonl", rows.join("\n") + "\n");
    let folder = folder.display();
    program.expect_success(&format!(
        "train --model {folder} --train train.jsonl --out run --device cpu --batch-size 2 \
         --learning-rate 5e-4 --set training.steps=10 --set training.log_steps=1"
    ));
    let losses: Vec<f64> = program
        .read("run/seed-42/reader/fine-tune/metrics.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses.len(), 10);
    assert!(losses[9] < 0.7 * losses[0], "{losses:?}");
    program.write("peru.txt", TEXT);
    program.write("q.jsonl", r#"{"question": "Was ist die Hauptstadt von Peru?"}"#);
    let line = "answer --model run/model --questions q.jsonl --json peru.txt";
    let answer = program.expect_success(line).out;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let text = answer["answers"][0]["text"].as_str().unwrap();
    assert!(TEXT.contains(text) && text.contains("Lima"), "{answer}");
}

#[test]
fn pretrained_encoder_retrieves_across_languages() {
    let Some(folder) = encoder() else { return };
    let read = |language: &str| {
        let mut questions = xquad(language);
        questions.dedup_by(|question, previous| question.title == previous.title);
        questions.truncate(12);
        questions
    };
    let document = |qa: mlqa_eval::Question| Document { id: qa.title, text: qa.context };
    let documents = read("en").into_iter().map(document);
    let documents: Documents = documents.collect::<Vec<_>>().into();
    let questions = read("zh");
    let questions: Vec<&str> = questions.iter().map(|qa| qa.question.as_str()).collect();
    let retriever = Retriever::load(folder, Device::Cpu, Precision::F32).unwrap();
    assert_eq!(retriever.prefixes(), ("query: ", "passage: "));
    let index = DocumentIndex::over(&documents).unwrap();
    let index = index.with_retriever(&retriever, &mut |_| {}).unwrap();
    let n_correct = |ranking| -> usize {
        let rankings = index.rank(&questions, ranking).unwrap();
        rankings.iter().enumerate().filter(|(k, ranking)| ranking.first() == Some(k)).count()
    };
    let [bm25, dense] = [Ranking::Bm25, Ranking::Dense(&retriever)].map(n_correct);
    assert!(dense >= 9 && bm25 < dense, "{bm25} {dense}");
}
