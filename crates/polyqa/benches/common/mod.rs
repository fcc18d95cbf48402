//! Setup of the benchmarks that compare polyqa with transformers.
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use mlqa_eval::{Dataset, Question};
use tch::Device;
use testkit::PythonPackages;
use xlmr_model::{Config, Head, Model, TokenizerFiles};

/// Options of the model.
#[derive(clap::Args)]
pub struct ModelOptions {
    /// Model folder [default: a model with random weights and the sizes --layers and --hidden]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Encoder layers
    #[arg(long, default_value_t = 12)]
    layers: i64,
    /// Hidden size; one attention head per 64 units
    #[arg(long, default_value_t = 768)]
    hidden: i64,
}

/// The folder of a benchmark with the subfolder `model`, and the Python environment of the
/// baseline.
pub struct Setup {
    pub folder: PathBuf,
    bench: &'static str,
    root: PathBuf,
    python: PathBuf,
    packages: PathBuf,
}

impl Setup {
    /// Prepares the folder; returns `None` if transformers is not installed.
    pub fn new(bench: &'static str, options: &ModelOptions) -> io::Result<Option<Self>> {
        let Some(python) = testkit::python_with(PythonPackages::Torch) else { return Ok(None) };
        let Some(packages) = testkit::transformers_4_packages() else { return Ok(None) };
        let packages = packages.canonicalize()?;
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(bench);
        fs::create_dir_all(&folder)?;
        let model = folder.join("model");
        match &options.model {
            Some(path) => copy_folder(&root.join(path), &model)?,
            None => write_model(&root, &model, options.layers, options.hidden)?,
        }
        Ok(Some(Self { folder, bench, root, python, packages }))
    }

    /// Returns one question of XQuAD per context.
    pub fn questions(&self, language: &str) -> io::Result<Vec<Question>> {
        let file = self.root.join(format!("data/xquad/xquad.{language}.json"));
        let mut questions = Dataset::read(file).map_err(io::Error::other)?.questions;
        // The questions of a context are adjacent.
        questions.dedup_by(|question, previous| question.context == previous.context);
        Ok(questions)
    }

    /// Returns a command of `polyqa` with the model.
    pub fn polyqa(&self, command: &str, arguments: &[&str]) -> Command {
        let mut program = Command::new(env!("CARGO_BIN_EXE_polyqa"));
        program.args([command, "--model", "model", "--device", "cpu"]).args(arguments);
        program.current_dir(&self.folder);
        program
    }

    /// Returns the command that runs the benchmark's baseline in Python.
    pub fn baseline(&self, arguments: &[&str]) -> Command {
        let script = format!("{}/benches/{}/peer.py", env!("CARGO_MANIFEST_DIR"), self.bench);
        let mut command = Command::new(&self.python);
        command.args(["-B", &script, "model"]).args(arguments);
        command.env("PYTHONPATH", &self.packages).current_dir(&self.folder);
        command
    }
}

/// Writes a reader with random weights, XLM-R's architecture and the embedded tokenizer.
fn write_model(root: &Path, folder: &Path, layers: i64, hidden: i64) -> io::Result<()> {
    let config = Config {
        vocab_size: 4000,
        num_hidden_layers: layers,
        hidden_size: hidden,
        num_attention_heads: hidden / 64,
        intermediate_size: 4 * hidden,
        ..Config::base()
    };
    let write = || -> xlmr_model::Result<()> {
        Model::new(&config, &[Head::Span], Device::Cpu, 1)?.save(folder, Head::Span)?;
        let (tokenizer, files) = TokenizerFiles::of_file(root.join("data/base/tokenizer.json"))?;
        files.write(folder, &tokenizer, &config)
    };
    write().map_err(io::Error::other)
}

/// Copies the files of a model folder, and removes the files of an earlier copy.
fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
