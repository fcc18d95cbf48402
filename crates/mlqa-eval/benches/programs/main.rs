//! Compares `mlqa-eval` with equivalent Python programs. Each program runs in a separate process.
//!
//! The two programs for a task run alternately. Each row of the printed table has their median
//! times. The benchmark fails if their results differ.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

mod inputs;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use clap::Parser;
use inputs::{Inputs, write_logits};
use mlqa_eval::{
    Compatible, Dataset, DecodeConfig, Error, NBestFile, Predictions, Purpose, WindowConfig,
    decode, load_tokenizer, windows,
};
use serde_json::Value;
use testkit::PythonPackages;
use testkit::process::{ResourceUse, median, run_measured};

/// Benchmarks `mlqa-eval` score, windows and decode against other programs.
#[derive(Parser)]
struct Options {
    /// The official script, https://github.com/facebookresearch/MLQA [default:
    /// .peers/mlqa_evaluation_v1.py]
    #[arg(long, value_name = "FILE")]
    mlqa: Option<PathBuf>,
    /// examples/pytorch/question-answering/utils_qa.py of transformers [default:
    /// .peers/utils_qa.py]
    #[arg(long, value_name = "FILE")]
    utils_qa: Option<PathBuf>,
    /// Languages of XQuAD to score
    #[arg(long, value_delimiter = ',', default_value = "en,de,ar,zh")]
    languages: Vec<String>,
    /// Copies of XQuAD's 1,190 questions; 10 copies are about as large as MLQA's English test set
    #[arg(long, default_value_t = 10)]
    copies: usize,
    /// Number of runs of each program
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Set by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

struct Bench {
    options: Options,
    folder: PathBuf,
    root: PathBuf,
    python: PathBuf,
}

impl Bench {
    fn find_script(&self, path: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
        let path = path.cloned().unwrap_or_else(|| self.root.join(".peers").join(name));
        if !path.is_file() {
            eprintln!("skipped: {} does not exist; see benches/README.md", path.display());
            return None;
        }
        Some(path)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mlqa-eval"));
        command.args(arguments).current_dir(&self.folder);
        command
    }

    fn python_command(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(script).current_dir(&self.folder);
        command.stderr(std::process::Stdio::null());
        command
    }

    /// Runs both programs alternately, prints a row of the table and returns their outputs.
    fn run_row(&self, name: &str, mut ours: Command, mut peer: Command) -> io::Result<[String; 2]> {
        let mut resource_uses = [Vec::new(), Vec::new()];
        let outputs = ["ours", "peer"].map(|name| self.folder.join(name));
        let mut without_imports = Vec::new();
        for _ in 0..self.options.rounds {
            resource_uses[0].push(run_measured(&mut ours, &outputs[0])?);
            resource_uses[1].push(run_measured(&mut peer, &outputs[1])?);
            let peer_output: Value = serde_json::from_slice(&fs::read(&outputs[1])?)?;
            without_imports.extend(peer_output["seconds"].as_f64());
        }
        without_imports.sort_unstable_by(f64::total_cmp);
        let [ours, peer] = resource_uses.map(|uses| median(&uses));
        let ratio = |peer: f64| format!("{:.1}", peer / ours.wall);
        let without_imports = without_imports
            .get(without_imports.len() / 2)
            .map_or_else(|| "–".into(), |&without_imports| ratio(without_imports));
        let ResourceUse { wall, cpu, peak_mib } = ours;
        println!(
            "| {name} | {:.1} ms | {:.0} ms | **{}** | {without_imports} | {:.0} ms | {:.0} ms | {peak_mib:.0} | {:.0} |",
            wall * 1e3,
            peer.wall * 1e3,
            ratio(peer.wall),
            cpu * 1e3,
            peer.cpu * 1e3,
            peer.peak_mib
        );
        Ok([fs::read_to_string(&outputs[0])?, fs::read_to_string(&outputs[1])?])
    }

    fn compare_scoring(&self, inputs: &Inputs, language: &str, script: &Path) -> io::Result<()> {
        let files = [&*inputs.dataset, &*inputs.predictions, language];
        let ours = self.command(&[&["score"], &files[..]].concat());
        let mut peer = self.python_command(script);
        peer.args(files);
        let name = format!("scoring, {language}, {} questions", inputs.questions);
        let [ours, peer] = self.run_row(&name, ours, peer)?;
        assert_eq!(ours, peer, "the scores differ");
        Ok(())
    }

    fn compare_decoding(&self, inputs: &Inputs, utils_qa: Option<&Path>) -> io::Result<()> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/programs/peer.py");
        let tokenizer = self.root.join("data/base/tokenizer.json");
        let tokenizer = tokenizer.to_str().unwrap();
        let args = [&*inputs.dataset, "--tokenizer", tokenizer, "--compatible", "run_qa"];
        let ours =
            self.command(&[&["windows", "--out", "windows.safetensors"], &args[..]].concat());
        let mut peer = self.python_command(&script);
        peer.args(["features", &inputs.dataset, tokenizer]);
        let name = format!("features, {} questions", inputs.questions);
        let [ours, peer] = self.run_row(&name, ours, peer)?;
        let rows = serde_json::from_str::<Value>(&peer)?["rows"].as_u64().unwrap();
        assert!(ours.contains(&format!(", {rows} rows of 384")), "{ours}");
        let Some(utils_qa) = utils_qa else { return Ok(()) };
        write_logits(&self.folder.join("logits.safetensors"), usize::try_from(rows).unwrap())?;
        let out = ["--logits", "logits.safetensors", "--out", "p.json", "--n-best", "n_best.json"];
        let ours = self.command(&[&["decode"], &args[..], &out[..]].concat());
        let mut peer = self.python_command(&script);
        peer.args(["decode", &inputs.dataset, tokenizer, "logits.safetensors"]);
        peer.arg(utils_qa).arg(&self.folder);
        let name = format!("features and decoding, {rows} rows");
        let [_, peer] = self.run_row(&name, ours, peer)?;
        let peer_seconds = serde_json::from_str::<Value>(&peer)?["decoding"].as_f64().unwrap();
        let seconds = self.time_decoding(inputs).map_err(io::Error::other)?;
        println!(
            "| decoding only, measured within the programs | {:.1} ms | {:.0} ms | **{:.1}** | – | – | – | – | – |",
            seconds * 1e3,
            peer_seconds * 1e3,
            peer_seconds / seconds
        );
        let read = |name: &str| -> io::Result<Value> {
            Ok(serde_json::from_slice(&fs::read(self.folder.join(name))?)?)
        };
        assert_eq!(read("p.json")?, read("predictions.json")?, "the answers differ");
        Ok(())
    }
}

impl Bench {
    /// Measures the seconds for decoding logits in memory and writing the output files.
    fn time_decoding(&self, inputs: &Inputs) -> Result<f64, Error> {
        let questions = Dataset::read(self.folder.join(&inputs.dataset))?.questions;
        let tokenizer = load_tokenizer(self.root.join("data/base/tokenizer.json"))?;
        let compatible = Some(Compatible::RunQa);
        let config = WindowConfig { compatible, ..WindowConfig::default() };
        let windows = windows(&questions, &tokenizer, &config, Purpose::Eval)?;
        let [start, end] = inputs::read_logits(&self.folder.join("logits.safetensors"));
        let rows = [&start, &end].map(|all| all.rows().into_iter().collect::<Vec<_>>());
        let config = DecodeConfig { compatible, ..DecodeConfig::default() };
        let mut seconds: Vec<f64> = Vec::new();
        for _ in 0..self.options.rounds {
            let started = Instant::now();
            let all = decode(&questions, &windows, &rows[0], &rows[1], &config)?;
            Predictions::from(all.as_slice()).write(self.folder.join("p.alone.json"))?;
            let mut lists = NBestFile::create(&self.folder.join("n_best.alone.json"))?;
            lists.add(&all)?;
            lists.finish()?;
            seconds.push(started.elapsed().as_secs_f64());
        }
        seconds.sort_unstable_by(f64::total_cmp);
        Ok(seconds[seconds.len() / 2])
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let Some(python) = testkit::python_with(PythonPackages::Torch) else { return Ok(()) };
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("programs");
    fs::create_dir_all(&folder)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let bench = Bench { options, folder, root, python };
    let Options { languages, copies, mlqa, utils_qa, .. } = &bench.options;
    let data = bench.root.join("data/xquad");
    println!(
        "| case | ours | peer | times | without imports | CPU ours | peer | MiB ours | peer |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    if let Some(script) = bench.find_script(mlqa.as_ref(), "mlqa_evaluation_v1.py") {
        for language in languages {
            let inputs = Inputs::write(&data, &bench.folder, language, *copies)?;
            bench.compare_scoring(&inputs, language, &script)?;
        }
    }
    let utils_qa = bench.find_script(utils_qa.as_ref(), "utils_qa.py");
    let inputs = Inputs::write(&data, &bench.folder, "en", *copies)?;
    bench.compare_decoding(&inputs, utils_qa.as_deref())
}
