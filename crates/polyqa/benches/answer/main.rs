//! `polyqa answer` compared with the question-answering pipeline of transformers 4 on torch and on
//! ONNX Runtime, each as a program.
//!
//! All programs run the same model on the CPU, on the same windows. They alternate; every row is
//! the median of the runs. The pipeline computes a softmax per window, so answers are compared for
//! contexts of one window, in float32.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::Parser;
use mlqa_eval::{Dataset, Predictions, Purpose, Question, WindowConfig, windows};
use serde_json::{Value, json};
use testkit::Peers;
use testkit::process::{ResourceUse, median, run};
use xlmr_model::read_tokenizer;

#[path = "../common/mod.rs"]
mod common;

/// Compares `polyqa answer` with transformers' pipeline.
#[derive(Parser)]
struct Options {
    /// Model folder [default: random weights with the sizes of --layers and --hidden]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Encoder layers
    #[arg(long, default_value_t = 12)]
    layers: i64,
    /// Hidden size; one attention head per 64 units
    #[arg(long, default_value_t = 768)]
    hidden: i64,
    /// Languages of XQuAD, one document each
    #[arg(long, value_delimiter = ',', default_value = "en,de,es")]
    languages: Vec<String>,
    /// Contexts per document; 16 are about 20 windows
    #[arg(long, default_value_t = 16)]
    contexts: usize,
    /// Number of questions; each is answered over every document
    #[arg(long, default_value_t = 4)]
    questions: usize,
    /// Precisions of `polyqa answer`
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16,int8")]
    precisions: Vec<String>,
    /// Runtimes of the pipeline: torch, torch-bf16, onnx, onnx-int8; ratios are relative to the
    /// first one
    #[arg(long, value_delimiter = ',', default_value = "torch,torch-bf16,onnx,onnx-int8")]
    runtimes: Vec<String>,
    /// Batch size of the pipeline
    #[arg(long, default_value_t = 8)]
    batch: usize,
    /// Runs of each program
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

struct Bench {
    options: Options,
    root: PathBuf,
    folder: PathBuf,
    python: PathBuf,
    packages: PathBuf,
}

impl Bench {
    fn polyqa(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_polyqa"));
        command.args(["answer", "--model", "model", "--device", "cpu", "--json"]).args(arguments);
        command.current_dir(&self.folder).stderr(Stdio::null());
        command
    }

    fn peer(&self, pairs: &str, runtime: &str) -> Command {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/answer/peer.py");
        let threads = std::thread::available_parallelism().unwrap().to_string();
        let batch = self.options.batch.to_string();
        let mut command = Command::new(&self.python);
        command.arg("-B").arg(script).args(["model", pairs, &batch, &threads, runtime]);
        command.env("PYTHONPATH", &self.packages).current_dir(&self.folder).stderr(Stdio::null());
        command
    }

    fn write(&self, name: &str, text: String) -> io::Result<()> {
        fs::write(self.folder.join(name), text)
    }

    fn run_peer(&self, pairs: &str, runtime: &str) -> io::Result<(ResourceUse, Value)> {
        let printed = self.folder.join("peer.json");
        let cost = run(&mut self.peer(pairs, runtime), &printed)?;
        Ok((cost, serde_json::from_slice(&fs::read(printed)?)?))
    }

    /// Checks that `polyqa answer` and the pipeline give equal answers over contexts of one window.
    fn check_equal_answers(&self, questions: &[Question]) -> io::Result<()> {
        let short = |one: &Question| one.context.chars().take(300).collect::<String>();
        let pairs: Vec<Value> = questions
            .iter()
            .map(|one| json!({"question": one.question, "context": short(one)}))
            .collect();
        let paragraphs: Vec<Value> = questions
            .iter()
            .map(|one| json!({"context": short(one), "qas": [{"id": one.id, "question": one.question}]}))
            .collect();
        self.write("short.json", json!(pairs).to_string())?;
        self.write("own.json", json!({"data": [{"paragraphs": paragraphs}]}).to_string())?;
        // As in the pipeline: as many starts and ends as a window has tokens.
        let own_contexts = ["--questions", "own.json", "--predictions", "own.answers.json"];
        let options = ["--answers", "384", "--precision", "f32"];
        let mut ours = self.polyqa(&[&own_contexts[..], &options].concat());
        run(&mut ours, &self.folder.join("ours.jsonl"))?;
        let predictions = Predictions::read(self.folder.join("own.answers.json")).unwrap();
        let (_, peer_result) = self.run_peer("short.json", "torch")?;
        assert_eq!(peer_result["windows"], questions.len(), "a context is more than one window");
        let our_answers: Vec<&String> =
            questions.iter().map(|one| &predictions.0[&one.id]).collect();
        assert_eq!(json!(our_answers), peer_result["answers"], "the answers differ");
        Ok(())
    }

    /// Writes the documents and questions for both programs; returns the number of windows.
    fn inputs(&self, documents: &[String], questions: &[Question]) -> io::Result<usize> {
        let lines = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect();
        let texts = documents.iter().enumerate();
        self.write(
            "documents.jsonl",
            lines(texts.map(|(id, text)| json!({"id": id.to_string(), "text": text})).collect()),
        )?;
        let rows = questions.iter().map(|one| json!({"id": one.id, "question": one.question}));
        self.write("questions.jsonl", lines(rows.collect()))?;
        let pairs_as_questions: Vec<Question> = documents
            .iter()
            .flat_map(|text| {
                questions
                    .iter()
                    .map(|one| Question { context: text.as_str().into(), ..one.clone() })
            })
            .collect();
        let pairs = pairs_as_questions
            .iter()
            .map(|one| json!({"question": one.question, "context": &*one.context}));
        self.write("pairs.json", json!(pairs.collect::<Vec<_>>()).to_string())?;
        let tokenizer = read_tokenizer(self.folder.join("model")).map_err(io::Error::other)?;
        let cut = windows(&pairs_as_questions, &tokenizer, &WindowConfig::default(), Purpose::Eval);
        Ok(cut.map_err(io::Error::other)?.len())
    }

    fn compare(&self, count: usize) -> io::Result<()> {
        let Options { runtimes, precisions, rounds, .. } = &self.options;
        let mut ours = vec![Vec::new(); precisions.len()];
        let mut peers = vec![(Vec::new(), Vec::new()); runtimes.len()];
        // The first run of a runtime may export the model.
        for runtime in runtimes {
            self.run_peer("short.json", runtime)?;
        }
        for _ in 0..*rounds {
            let inputs = ["--documents", "documents.jsonl", "--questions", "questions.jsonl"];
            for (precision, costs) in precisions.iter().zip(&mut ours) {
                let arguments = [&inputs[..], &["--precision", precision]].concat();
                costs.push(run(&mut self.polyqa(&arguments), &self.folder.join("ours.jsonl"))?);
            }
            for (runtime, (costs, inference)) in runtimes.iter().zip(&mut peers) {
                let (cost, report) = self.run_peer("pairs.json", runtime)?;
                assert_eq!(report["windows"], count, "the windows differ");
                costs.push(cost);
                // The wall time without imports and loading, for the same median.
                let wall = report["seconds"].as_f64().unwrap();
                inference.push(ResourceUse { wall, ..ResourceUse::default() });
            }
        }
        let rate = |wall: f64| count as f64 / wall;
        println!(
            "{count} windows\n\n\
             | program | windows/s | without imports and loading | CPU s | MiB |\n\
             |---|---:|---:|---:|---:|"
        );
        let row = |name: &str, cost: ResourceUse, inference_rate: Option<f64>| {
            let ResourceUse { wall, cpu, peak_mib } = cost;
            let inference_rate =
                inference_rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.2}"));
            println!(
                "| {name} | {:.2} | {inference_rate} | {cpu:.1} | {peak_mib:.0} |",
                rate(wall)
            );
        };
        let mut baseline = None;
        for (runtime, (costs, inference)) in runtimes.iter().zip(&peers) {
            let inference_rate = rate(median(inference).wall);
            row(&format!("pipeline, {runtime}"), median(costs), Some(inference_rate));
            baseline = baseline.or(Some((runtime, inference_rate)));
        }
        for (precision, costs) in precisions.iter().zip(&ours) {
            row(&format!("`polyqa answer`, {precision}"), median(costs), None);
        }
        println!();
        for (precision, costs) in precisions.iter().zip(&ours) {
            let Some((runtime, baseline)) = baseline else { break };
            let ratio = rate(median(costs).wall) / baseline;
            println!("{precision}, whole program / {runtime} without imports: {ratio:.2}");
        }
        Ok(())
    }
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let Some(python) = testkit::peers_python(Peers::Torch) else { return Ok(()) };
    let Some(packages) = testkit::transformers_4_packages() else { return Ok(()) };
    let packages = packages.canonicalize()?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("answer");
    fs::create_dir_all(&folder)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize()?;
    let bench = Bench { options, root, folder, python, packages };
    let Options { languages, contexts, questions, .. } = &bench.options;
    let mut documents = Vec::new();
    let mut by_language = Vec::new();
    for language in languages {
        let file = bench.root.join(format!("data/xquad/xquad.{language}.json"));
        let mut language_questions = Dataset::read(file).map_err(io::Error::other)?.questions;
        // The questions of a context are adjacent; one per context remains.
        language_questions.dedup_by(|one, before| one.context == before.context);
        language_questions.truncate(*contexts);
        documents.push(
            language_questions.iter().map(|one| &*one.context).collect::<Vec<_>>().join("\n"),
        );
        by_language.push(language_questions);
    }
    let Options { layers, hidden, .. } = bench.options;
    let model = bench.folder.join("model");
    for old in fs::read_dir(&bench.folder)?.flatten().map(|entry| entry.path()) {
        if old.extension().is_some_and(|extension| extension == "onnx") {
            fs::remove_file(old)?;
        }
    }
    match &bench.options.model {
        Some(from) => common::copy_folder(&bench.root.join(from), &model)?,
        None => common::model(&bench.root, &model, layers, hidden)?,
    }
    let mut mixed: Vec<Question> = Vec::new();
    for number in 0..*questions {
        let questions_of = &by_language[number % by_language.len()];
        let id = number.to_string();
        mixed.push(Question { id, ..questions_of[number % questions_of.len()].clone() });
    }
    bench.check_equal_answers(&mixed)?;
    let count = bench.inputs(&documents, &mixed)?;
    bench.compare(count)
}
