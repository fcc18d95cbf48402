//! Tests of sentence encoders against sentence-transformers, if it is installed.
use std::fs;
use std::path::Path;
use std::process::Command;

use polyqa::{Document, DocumentIndex, Documents, Retriever};
use serde_json::{Value, json};
use tch::{Device, Tensor};
use testkit::{PythonPackages, python_with};
use torch_ext::Precision;
use xlmr_model::Head;

use crate::common::{DATA, write_model, xquad};

/// Prints the normalised embeddings of texts. The arguments are a folder and a JSON list of texts.
const SCRIPT: &str = "
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device='cpu')
vectors = model.encode_document(json.loads(sys.argv[2]), normalize_embeddings=True)
print(json.dumps(vectors.tolist()))
";

const MODULES: &str = r#"[
    {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.base.modules.transformer.Transformer"},
    {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.sentence_transformer.modules.pooling.Pooling"}]"#;

/// Writes an encoder of random weights with the files that sentence-transformers 6.2 writes.
/// `changes` are keys of these files with other values.
pub(crate) fn write_encoder(folder: &Path, changes: &[(&str, &str, Value)]) {
    write_model(folder, Head::MaskedLm);
    fs::copy(
        Path::new(DATA).join("base/tokenizer_config.json"),
        folder.join("tokenizer_config.json"),
    )
    .unwrap();
    fs::create_dir(folder.join("1_Pooling")).unwrap();
    fs::write(folder.join("modules.json"), MODULES).unwrap();
    let mut files = [
        (
            "1_Pooling/config.json",
            json!({"embedding_dimension": 128, "pooling_mode": "mean",
            "include_prompt": true}),
        ),
        (
            "sentence_bert_config.json",
            json!({"transformer_task": "feature-extraction",
            "modality_config": {"text": {"method": "forward",
                "method_output_name": "last_hidden_state"}},
            "module_output_name": "token_embeddings"}),
        ),
        (
            "config_sentence_transformers.json",
            json!({"__version__": {"sentence_transformers": "6.2.0"},
            "default_prompt_name": null, "model_type": "SentenceTransformer",
            "prompts": {"document": "", "query": ""}, "similarity_fn_name": "cosine"}),
        ),
        ("tokenizer_config.json", Value::Null),
    ];
    for (name, content) in &mut files {
        let path = folder.join(*name);
        if content.is_null() {
            *content = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            // The model has 128 positions, which sentence-transformers does not derive.
            content["model_max_length"] = json!(128);
        }
        for (_, key, value) in changes.iter().filter(|(file, ..)| file == name) {
            content[*key] = value.clone();
        }
        fs::write(path, content.to_string()).unwrap();
    }
}

#[test]
fn embeddings_equal_those_of_sentence_transformers() {
    let Some(python) = python_with(PythonPackages::Torch) else { return };
    // Passages are at least this long, so that each text is one passage.
    let shorten = |text: &str| text.chars().take(300).collect::<String>().trim().to_owned();
    let questions = xquad("en");
    let texts: Vec<String> =
        questions.iter().step_by(150).take(4).map(|qa| shorten(&qa.context)).collect();
    let (model, transformer) = ("config_sentence_transformers.json", "sentence_bert_config.json");
    let cases: [&[(&str, &str, Value)]; 8] = [
        &[],
        &[("tokenizer_config.json", "model_max_length", json!(16))],
        &[(transformer, "max_seq_length", json!(12))],
        &[(transformer, "do_lower_case", json!(true))],
        &[("1_Pooling/config.json", "pooling_mode", json!(["cls"]))],
        &[(model, "truncate_dim", json!(40))],
        &[(model, "prompts", json!({"query": "", "document": "text: ", "passage": "passage: "}))],
        &[(model, "prompts", json!({"query": "query: ", "document": "", "passage": "passage: "}))],
    ];
    let mut distinct_results: Vec<Vec<Vec<f32>>> = Vec::new();
    for changes in cases {
        let folder = tempfile::tempdir().unwrap();
        write_encoder(folder.path(), changes);
        let mut command = Command::new(&python);
        command.args(["-c", SCRIPT]).arg(folder.path()).arg(json!(texts).to_string());
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let expected: Vec<Vec<f32>> = serde_json::from_slice(&output.stdout).unwrap();

        let retriever = Retriever::load(folder.path(), Device::Cpu, Precision::F32).unwrap();
        let document = |(id, text): (usize, &String)| Document {
            id: id.to_string().into(),
            text: text.as_str().into(),
        };
        let documents: Documents =
            texts.iter().enumerate().map(document).collect::<Vec<_>>().into();
        let index = DocumentIndex::over(&documents).unwrap();
        index.with_retriever(&retriever, &mut |_| {}).unwrap();
        let file = folder.path().join("embeddings.safetensors");
        retriever.save_embeddings(&file).unwrap();
        let stored = torch_ext::read_tensors(&file).unwrap();
        let vectors = &stored.iter().find(|(name, _)| *name == "embeddings").unwrap().1;
        let vectors = Vec::<Vec<f32>>::try_from(vectors as &Tensor).unwrap();
        assert_eq!((vectors.len(), vectors[0].len()), (expected.len(), expected[0].len()));
        for vector in &expected {
            let difference = |other: &Vec<f32>| {
                vector.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
            };
            let smallest = vectors.iter().map(difference).fold(f32::INFINITY, f32::min);
            assert!(smallest < 1e-5, "{changes:?}: {smallest}");
        }
        distinct_results.push(expected);
    }
    // All settings except the last, whose prompt is empty, change the embeddings.
    for (index, result) in distinct_results.iter().enumerate().skip(1) {
        assert_eq!(*result == distinct_results[0], index == 7, "{index}");
    }
}

#[test]
fn models_that_are_no_sentence_encoders_are_rejected() {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), Head::Span);
    let load = || Retriever::load(folder.path(), Device::Cpu, Precision::F32);
    let error = load().unwrap_err().to_string();
    assert!(
        error.contains("XLMRobertaForQuestionAnswering") && error.contains("a reader"),
        "{error}"
    );
}
