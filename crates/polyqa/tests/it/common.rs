//! Helpers that create models with random weights and run the program.
use std::path::Path;

use mlqa_eval::{Dataset, Question};
use serde_json::Value;
use tempfile::TempDir;
use testkit::{Program, RunOutput};
use xlmr_model::{Config, Head, Model};

pub const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data");

/// Returns XQuAD's questions in a language.
pub fn xquad(language: &str) -> Vec<Question> {
    let file = Path::new(DATA).join(format!("xquad/xquad.{language}.json"));
    Dataset::read(file).unwrap().questions
}

/// Creates a folder with a small reader of random weights.
pub fn random_reader() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), Head::Span);
    folder
}

/// Creates a folder with a small encoder of random weights.
pub fn random_encoder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    write_model(folder.path(), Head::MaskedLm);
    folder
}

/// Writes a small model of random weights.
pub fn write_model(folder: &Path, head: Head) {
    let config = Config { max_position_embeddings: 130, ..Config::tiny(4000) };
    let model = Model::new(&config, &[head], tch::Device::Cpu, 5).unwrap();
    model.save(folder, head).unwrap();
    let tokenizer = Path::new(DATA).join("base/tokenizer.json");
    std::fs::copy(tokenizer, folder.join("tokenizer.json")).unwrap();
}

/// Copies the files of a model.
pub fn copy_model(program: &Program, from: &str, to: &str) {
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        program.copy(&format!("{from}/{file}"), &format!("{to}/{file}"));
    }
}

/// Returns the program with float32 precision and a reader in the folder `model`.
pub fn polyqa() -> Program {
    let program = Program::new(env!("CARGO_BIN_EXE_polyqa"));
    write_model(&program.path_of("model"), Head::Span);
    program.with_variable("POLYQA_PRECISION", "f32")
}

/// Runs the program with this standard input.
pub fn run_with_input(program: &Program, arguments: &str, input: &[u8]) -> RunOutput {
    program.write("input", input);
    let mut command = program.command(arguments);
    command.stdin(std::fs::File::open(program.path_of("input")).unwrap());
    testkit::run_command(&mut command)
}

/// Reads a JSON file in the program's folder.
pub fn read_json(program: &Program, name: &str) -> Value {
    serde_json::from_slice(&program.read_bytes(name)).unwrap()
}
