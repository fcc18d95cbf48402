//! Stored cases and helpers shared by the tests.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tch::{Device, Kind, Tensor};
use testkit::{Golden, fixture};
use xlmr_model::{Config, Head, Inputs, LoadOptions, Model};

/// All stored cases with their heads.
pub const CASES: [(&str, Head); 6] = [
    ("mlm", Head::MaskedLm),
    ("mlm_sharded_bf16", Head::MaskedLm),
    ("qa", Head::Span),
    ("qa_two_segments", Head::Span),
    ("seqcls", Head::SequenceClassification { labels: 3 }),
    ("tokcls", Head::TokenClassification { labels: 5 }),
];

/// Serialises tests that use libtorch's random generator, which all threads share.
pub fn exclusive() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the folder of a stored case.
pub fn case(name: &str) -> PathBuf {
    fixture("hf").join(name)
}

pub fn load(name: &str, head: Head) -> Model {
    Model::load(case(name), &[head], Device::Cpu, LoadOptions::default()).unwrap().0
}

/// Returns batch `b0` or `b1` of a case.
pub fn batch(stored: &Golden<Tensor>, batch_name: &str) -> Inputs {
    let get = |name: &str| stored.get(&format!("{batch_name}.{name}")).map(Tensor::shallow_clone);
    Inputs {
        input_ids: get("input_ids").unwrap(),
        attention_mask: get("attention_mask"),
        token_type_ids: get("token_type_ids"),
        position_ids: get("position_ids"),
        inputs_embeds: None,
    }
}

/// Computes the logits of a head by their names in transformers.
pub fn logits(model: &Model, head: Head, hidden: &Tensor) -> Vec<(&'static str, Tensor)> {
    match head {
        Head::None => Vec::new(),
        Head::MaskedLm => vec![("logits", model.mlm_logits(hidden).unwrap())],
        Head::Span => {
            let (start, end) = model.span_logits(hidden, false).unwrap();
            vec![("start_logits", start), ("end_logits", end)]
        }
        Head::TokenClassification { .. } => {
            vec![("logits", model.token_logits(hidden, false).unwrap())]
        }
        Head::SequenceClassification { .. } => {
            vec![("logits", model.sequence_logits(hidden, None, false).unwrap())]
        }
    }
}

/// Returns a 2-layer configuration like that of the stored cases.
pub fn small_config() -> Config {
    Config {
        vocab_size: 50,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 24,
        max_position_embeddings: 20,
        initializer_range: 0.2,
        ..Config::base()
    }
}

/// Creates ids `[rows, columns]` that step through the vocabulary and skip `<pad>`.
pub fn ids(rows: i64, columns: i64) -> Tensor {
    let ids = Tensor::arange(rows * columns, (Kind::Int64, Device::Cpu));
    (ids * 7).remainder(40).view([rows, columns]) + 5
}

/// Reads a safetensors file with tch's own reader.
pub fn read(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Copies all files of a folder.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// Changes the JSON object in a file.
pub fn edit_json(path: &Path, edit: impl FnOnce(&mut serde_json::Map<String, serde_json::Value>)) {
    let mut value: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    edit(value.as_object_mut().unwrap());
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Adds, replaces or removes tensors of a safetensors file.
pub fn edit_tensors(path: &Path, edit: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let mut tensors = read(path);
    edit(&mut tensors);
    let tensors: Vec<(&String, &Tensor)> = tensors.iter().collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}
