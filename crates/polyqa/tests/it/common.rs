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
/// Returns a PDF file with a line of text on each page.
pub fn pdf(pages: &[&str]) -> Vec<u8> {
    let kids: Vec<String> = (0..pages.len()).map(|page| format!("{} 0 R", 4 + 2 * page)).collect();
    let mut objects = vec![
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        format!(
            "<< /Type /Pages /Count {} /Kids [{}] /MediaBox [0 0 595 842] /Resources << /Font << /F 3 0 R >> >> >>",
            pages.len(),
            kids.join(" ")
        ),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Courier /Encoding /WinAnsiEncoding >>"
            .to_owned(),
    ];
    for (page, text) in pages.iter().enumerate() {
        let content = format!("BT /F 10 Tf 50 700 Td ({text}) Tj ET");
        objects.push(format!("<< /Type /Page /Parent 2 0 R /Contents {} 0 R >>", 5 + 2 * page));
        objects.push(format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()));
    }
    let mut file = "%PDF-1.4\n".to_owned();
    let mut table = format!("xref\n0 {}\n0000000000 65535 f \n", objects.len() + 1);
    for (object, number) in objects.iter().zip(1..) {
        table += &format!("{:010} 00000 n \n", file.len());
        file += &format!("{number} 0 obj\n{object}\nendobj\n");
    }
    let size = objects.len() + 1;
    let start = file.len();
    file += &format!("{table}trailer\n<< /Size {size} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n");
    file.into_bytes()
}

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
