//! Compares model folders' tokenizers with transformers 5 and 4, if these are installed.
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use testkit::{PythonPackages, python_with};
use tokenizer_file::{Layout, returns_token_types};
use xlmr_model::{Config, read_tokenizer};

const TEXTS: [&str; 8] = [
    "Wie viele Einwohner hat Köln?",
    "It is red, house 12 of 1.000.",
    "中文测试 字符。",
    "مرحبا بالعالم",
    "  two  spaces\tand\nlines ",
    "café Ünïcödé İstanbul",
    "ﬁne ①Ａ　Ｂ",
    "",
];

/// Maximum length of truncated texts in tokens.
const MAX_LENGTH: usize = 24;

/// Returns forty questions of XQuAD in each of seven languages.
fn xquad_questions() -> Vec<String> {
    let mut lines = Vec::new();
    for language in ["ar", "de", "en", "es", "hi", "vi", "zh"] {
        let path = testkit::fixture(&format!("../../../data/xquad/xquad.{language}.json"));
        let file = std::fs::read(&path).unwrap();
        let data: Value = serde_json::from_slice(&file).unwrap();
        let articles = data["data"].as_array().unwrap().iter();
        let paragraphs = articles.flat_map(|article| article["paragraphs"].as_array().unwrap());
        let questions = paragraphs.flat_map(|paragraph| paragraph["qas"].as_array().unwrap());
        lines.extend(questions.take(40).map(|qa| qa["question"].as_str().unwrap().to_owned()));
    }
    lines
}

/// Encodes texts with the tokenizer of a folder. transformers must return equal encodings.
fn expected_encodings(folder: &Path) -> Value {
    let tokenizer = read_tokenizer(folder).unwrap();
    let config = Config::from_file(folder.join("config.json")).unwrap();
    let layout = Layout::of(&tokenizer).unwrap();
    let mask = tokenizer.id_to_token(layout.mask().unwrap()).unwrap();
    let ids = |text: &str| tokenizer.encode(text, false).unwrap().get_ids().to_vec();
    let mut texts: Vec<String> = TEXTS.map(str::to_owned).into();
    texts.push(format!("Bern is the {mask} of Switzerland, {mask}."));
    texts.extend(xquad_questions());
    let single = |text: &String| {
        let encoding = tokenizer.encode_char_offsets(text.as_str(), true).unwrap();
        json!({"text": text, "ids": layout.single(&ids(text)), "offsets": encoding.get_offsets()})
    };
    // Pairs with an empty second text are excluded, because transformers treats it as absent.
    let pairs = texts.iter().zip(texts.iter().rev()).filter(|(_, second)| !second.is_empty());
    let pairs = pairs.map(|(first, second)| {
        let row = layout.pair(&ids(first), &ids(second)).unwrap();
        json!({"text": [first, second], "ids": row})
    });
    let (question, long_text) = (TEXTS[0], TEXTS[1].repeat(20));
    let (question_ids, context_ids) = (ids(question), ids(&long_text));
    let max_context = MAX_LENGTH - 2 - layout.between().unwrap().len() - question_ids.len();
    let mut input_names = vec!["attention_mask", "input_ids"];
    if returns_token_types(folder).unwrap() {
        input_names.push("token_type_ids");
    }
    json!({
        "folder": folder,
        "max_length": config.max_length(),
        "inputs": input_names,
        "special": {
            "cls": layout.before(),
            "sep": layout.after(),
            "pad": layout.pad().unwrap(),
            "unk": layout.unknown().ok(),
            "mask": layout.mask().unwrap(),
        },
        "texts": texts.iter().map(single).collect::<Vec<_>>(),
        "pairs": pairs.collect::<Vec<_>>(),
        "limit": MAX_LENGTH,
        "long_text": {"text": long_text, "ids": layout.single(&context_ids[..MAX_LENGTH - 2])},
        "long_pair": {
            "text": [question, long_text],
            "ids": layout.pair(&question_ids, &context_ids[..max_context]).unwrap(),
        },
    })
}

/// Compares each folder's tokenizer with the installed versions of transformers.
pub fn check_transformers_encoding(folders: &[PathBuf]) {
    for version in [PythonPackages::Tokenizers, PythonPackages::OlderTokenizers] {
        if let Some(python) = python_with(version) {
            compare_with_transformers(&python, folders);
        }
    }
}

fn compare_with_transformers(python: &Path, folders: &[PathBuf]) {
    let script = testkit::fixture("../../xlmr-model/scripts/check_tokenizers.py");
    let mut child = Command::new(python)
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let encodings: Vec<Value> = folders.iter().map(|folder| expected_encodings(folder)).collect();
    let mut input = child.stdin.take().unwrap();
    input.write_all(json!(encodings).to_string().as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}{errors}");
    assert_eq!(text.matches(": ok").count(), folders.len(), "{text}");
}
