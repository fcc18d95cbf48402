//! Readers with random weights.
use std::path::Path;

use tempfile::TempDir;
use testkit::Program;
use xlmr_model::{Config, Head, Model};

pub const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");

/// Creates a folder with a small reader of random weights.
pub fn random_reader() -> TempDir {
    random_model(Head::Span)
}

/// Creates a folder with a small encoder of random weights.
pub fn random_encoder() -> TempDir {
    random_model(Head::MaskedLm)
}

fn random_model(head: Head) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let config = Config { max_position_embeddings: 130, ..Config::tiny(4000) };
    let model = Model::new(&config, &[head], tch::Device::Cpu, 5).unwrap();
    model.save(folder.path(), head).unwrap();
    let tokenizer = Path::new(DATA).join("base/tokenizer.json");
    std::fs::copy(tokenizer, folder.path().join("tokenizer.json")).unwrap();
    folder
}

/// Returns the program, computing in float32, with a reader in the folder `model`.
pub fn polyqa() -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_polyqa"));
    let program = program.with_variable("POLYQA_PRECISION", "f32");
    let model = random_reader();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        program.write(&format!("model/{file}"), std::fs::read(model.path().join(file)).unwrap());
    }
    program
}
