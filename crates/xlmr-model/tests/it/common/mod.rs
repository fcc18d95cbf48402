//! Stored cases and helpers shared by the tests.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value};
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;
use testkit::{Golden, Program, fixture};
use xlmr_model::{Architecture, Config, Head, Inputs, LoadOptions, LoadReport, Model, Result};

pub mod tokenizers;

pub const SEQUENCE: Head = Head::SequenceClassification { labels: 3 };
pub const TOKEN: Head = Head::TokenClassification { labels: 5 };

/// Serialises tests that use libtorch's random generator, which all threads share.
pub fn lock_generator() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the folder of a stored case.
pub fn case_folder(name: &str) -> PathBuf {
    fixture("hf").join(name)
}

/// Loads a model folder with the given heads.
pub fn open_folder(folder: &Path, heads: &[Head]) -> Result<(Model, LoadReport)> {
    Model::load(folder, heads, Device::Cpu, LoadOptions::default())
}

/// Loads a stored case with the given heads.
pub fn load_case(name: &str, heads: &[Head]) -> Model {
    open_folder(&case_folder(name), heads).unwrap().0
}

/// Reads the tensors in a file of a stored case.
pub fn read_stored(name: &str, file: &str) -> Golden<Tensor> {
    Golden::load(&case_folder(name).join(file), Tensor::read_safetensors)
}

/// Returns the inputs of one batch, such as `b0`, in the stored inputs of a case.
pub fn select_batch(stored: &Golden<Tensor>, batch_name: &str) -> Inputs {
    let get = |name: &str| stored.get(&format!("{batch_name}.{name}")).map(Tensor::shallow_clone);
    Inputs {
        input_ids: get("input_ids").unwrap(),
        attention_mask: get("attention_mask"),
        token_type_ids: get("token_type_ids"),
        position_ids: get("position_ids"),
        inputs_embeds: None,
        languages: None,
    }
}

/// Computes the logits of a head, with their names in transformers. `mask` is the attention mask.
pub fn compute_logits(
    model: &Model,
    head: Head,
    hidden: &Tensor,
    mask: Option<&Tensor>,
) -> Vec<(&'static str, Tensor)> {
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
            vec![("logits", model.sequence_logits(hidden, mask, false).unwrap())]
        }
    }
}

/// Returns a configuration with 2 layers, similar to the configurations of the stored cases.
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

/// Creates token ids `[rows, columns]` from the whole range of the vocabulary except special
/// tokens.
pub fn ids(rows: i64, columns: i64) -> Tensor {
    let ids = Tensor::arange(rows * columns, (Kind::Int64, Device::Cpu));
    (ids * 7).remainder(40).view([rows, columns]) + 5
}

/// Creates rows of the given lengths; consecutive ids in a row differ by `step`, modulo 40.
pub fn build_rows(lengths: &[usize], step: u32) -> Inputs {
    let row = |(number, &length): (usize, &usize)| -> Vec<u32> {
        (0..length as u32).map(|k| 5 + (number as u32 * 11 + k * step) % 40).collect()
    };
    let rows: Vec<Vec<u32>> = lengths.iter().enumerate().map(row).collect();
    Inputs::from_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>(), 1).unwrap()
}

/// Returns the attention mask, or ones if the inputs have no mask.
pub fn mask_or_ones(inputs: &Inputs) -> Tensor {
    let ones = || inputs.input_ids.ones_like();
    inputs.attention_mask.as_ref().map_or_else(ones, Tensor::shallow_clone)
}

/// Replaces values at padding by zeros.
pub fn zero_padding(values: &Tensor, inputs: &Inputs) -> Tensor {
    let mut mask = mask_or_ones(inputs);
    while mask.dim() < values.dim() && values.size()[0] == mask.size()[0] {
        mask = mask.unsqueeze(-1);
    }
    values.masked_fill(&mask.eq(0), 0.0)
}

pub fn parameters(model: &Model) -> BTreeMap<String, Tensor> {
    model.named_parameters().into_iter().collect()
}

/// Asserts that the parameters of two models are bit-identical.
#[track_caller]
pub fn assert_equal_parameters(actual: &Model, expected: &Model) {
    let (actual, expected) = (parameters(actual), parameters(expected));
    assert!(actual.keys().eq(expected.keys()));
    for (name, tensor) in &actual {
        assert!(tensor.equal(&expected[name]), "{name}");
    }
}

/// Computes gradients by parameter name; parameters without gradient are omitted.
pub fn gradients(model: &Model, loss: &Tensor) -> BTreeMap<String, Tensor> {
    let mut parameters = parameters(model);
    for parameter in parameters.values() {
        let _ = parameter.grad().defined().then(|| parameter.grad().zero_());
    }
    loss.backward();
    parameters.retain(|_, parameter| parameter.grad().defined());
    let dense = |parameter: Tensor| parameter.grad().to_dense(None, false).copy();
    parameters.into_iter().map(|(name, parameter)| (name, dense(parameter))).collect()
}

/// Reads a safetensors file with tch's reader.
pub fn read_tensors(path: &Path) -> BTreeMap<String, Tensor> {
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

/// Copies all files of a folder to a temporary folder.
pub fn temporary_copy(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    copy
}

pub fn read_json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Applies `edit` to the JSON object in a file.
pub fn edit_json(path: &Path, edit: impl FnOnce(&mut Map<String, Value>)) {
    let mut value = read_json(path);
    edit(value.as_object_mut().unwrap());
    std::fs::write(path, serde_json::to_vec(&value).unwrap()).unwrap();
}

/// Applies `edit` to the tensors in a safetensors file.
pub fn edit_tensors(path: &Path, edit: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
    let mut tensors = read_tensors(path);
    edit(&mut tensors);
    let tensors: Vec<(&String, &Tensor)> = tensors.iter().collect();
    Tensor::write_safetensors(&tensors, path).unwrap();
}

/// Creates the program `xlmr-model`.
pub fn program() -> Program {
    Program::new(env!("CARGO_BIN_EXE_xlmr-model"))
}

/// Creates the program with a copy of the base model in `data/base` as `model`.
pub fn program_with_model() -> Program {
    let program = program();
    for entry in program.path_of("data/base").read_dir().unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        program.write(&format!("model/{name}"), std::fs::read(&path).unwrap());
    }
    program
}

/// Returns a configuration with the minimum hidden size for packing.
pub fn wide_config(architecture: Architecture) -> Config {
    Config {
        tie_word_embeddings: !matches!(architecture, Architecture::RemBert(_)),
        architecture,
        vocab_size: 60,
        hidden_size: 256,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        intermediate_size: 128,
        max_position_embeddings: 40,
        ..Config::base()
    }
}

/// Computes the relative error in the Frobenius norm.
pub fn frobenius_error(actual: &Tensor, expected: &Tensor) -> f64 {
    ((actual - expected).norm() / expected.norm()).double_value(&[])
}
