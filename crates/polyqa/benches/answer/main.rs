//! Compares `polyqa answer` with the question-answering pipeline of transformers 4 on torch and on
//! ONNX Runtime. Each runs as a separate program.
//!
//! All programs evaluate the same model on the same windows on the CPU. The programs run
//! alternately; each row of the table is the median of several runs. The pipeline computes a
//! separate softmax for each window, so its answers equal those of `polyqa answer` only for
//! contexts of one window. Answers are compared for such contexts, in float32.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::fs;
use std::io;
use std::process::Stdio;
use std::sync::Arc;

use clap::Parser;
use mlqa_eval::{Predictions, Purpose, Question, WindowConfig, windows};
use serde_json::{Value, json};
use testkit::process::{ResourceUse, median, run_measured};
use xlmr_model::read_tokenizer;

#[path = "../common/mod.rs"]
mod common;
use common::Setup;

/// Compares `polyqa answer` with transformers' pipeline.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    model: common::ModelOptions,
    /// Languages of XQuAD; one document per language
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
    /// Number of runs of each program
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

struct Bench {
    options: Options,
    setup: Setup,
}

impl Bench {
    fn write(&self, name: &str, text: String) -> io::Result<()> {
        fs::write(self.setup.folder.join(name), text)
    }

    fn run_polyqa(&self, arguments: &[&str]) -> io::Result<ResourceUse> {
        let mut command = self.setup.polyqa("answer", &["--json"]);
        command.args(arguments).stderr(Stdio::null());
        run_measured(&mut command, &self.setup.folder.join("ours.jsonl"))
    }

    fn run_pipeline(&self, pairs: &str, runtime: &str) -> io::Result<(ResourceUse, Value)> {
        let report_file = self.setup.folder.join("peer.json");
        let threads = std::thread::available_parallelism()?.to_string();
        let batch = self.options.batch.to_string();
        let mut command = self.setup.baseline(&[pairs, &batch, &threads, runtime]);
        let cost = run_measured(command.stderr(Stdio::null()), &report_file)?;
        Ok((cost, serde_json::from_slice(&fs::read(report_file)?)?))
    }

    /// Checks that `polyqa answer` and the pipeline return equal answers for contexts of one
    /// window.
    fn check_equal_answers(&self, questions: &[Question]) -> io::Result<()> {
        let shorten = |question: &Question| {
            let context: String = question.context.chars().take(300).collect();
            Question { context: context.into(), ..question.clone() }
        };
        let questions: Vec<Question> = questions.iter().map(shorten).collect();
        let paragraph = |qa: &Question| {
            let qas = json!([{"id": qa.id, "question": qa.question}]);
            json!({"context": &*qa.context, "qas": qas})
        };
        let paragraphs: Vec<Value> = questions.iter().map(paragraph).collect();
        self.write("short.json", pairs_json(&questions))?;
        self.write("own.json", json!({"data": [{"paragraphs": paragraphs}]}).to_string())?;
        // As in the pipeline, all positions of a window are candidates for start and end.
        let files = ["--questions", "own.json", "--predictions", "own.answers.json"];
        let options = ["--answers", "384", "--precision", "f32"];
        self.run_polyqa(&[&files[..], &options].concat())?;
        let predictions = Predictions::read(self.setup.folder.join("own.answers.json")).unwrap();
        let (_, report) = self.run_pipeline("short.json", "torch")?;
        assert_eq!(report["windows"], questions.len(), "a context is more than one window");
        let our_answers: Vec<&String> =
            questions.iter().map(|question| &predictions.0[&question.id]).collect();
        assert_eq!(json!(our_answers), report["answers"], "the answers differ");
        Ok(())
    }

    /// Writes the documents and questions for both programs, and returns the number of windows.
    fn write_inputs(&self, documents: &[String], questions: &[Question]) -> io::Result<usize> {
        let lines = |rows: Vec<Value>| rows.iter().map(|row| format!("{row}\n")).collect();
        let texts = documents.iter().enumerate();
        self.write(
            "documents.jsonl",
            lines(texts.map(|(id, text)| json!({"id": id.to_string(), "text": text})).collect()),
        )?;
        let rows = questions.iter().map(|qa| json!({"id": qa.id, "question": qa.question}));
        self.write("questions.jsonl", lines(rows.collect()))?;
        let with_context = |text: &String| {
            let context: Arc<str> = text.as_str().into();
            let questions = questions.iter().cloned();
            questions.map(move |question| Question { context: context.clone(), ..question })
        };
        let questions: Vec<Question> = documents.iter().flat_map(with_context).collect();
        self.write("pairs.json", pairs_json(&questions))?;
        let tokenizer =
            read_tokenizer(self.setup.folder.join("model")).map_err(io::Error::other)?;
        let windows = windows(&questions, &tokenizer, &WindowConfig::default(), Purpose::Eval);
        Ok(windows.map_err(io::Error::other)?.len())
    }

    fn compare(&self, n_windows: usize) -> io::Result<()> {
        let Options { runtimes, precisions, rounds, .. } = &self.options;
        let mut polyqa_costs = vec![Vec::new(); precisions.len()];
        let mut pipeline_costs = vec![(Vec::new(), Vec::new()); runtimes.len()];
        // The first run of each runtime is not measured, because it may export the model.
        for runtime in runtimes {
            self.run_pipeline("short.json", runtime)?;
        }
        for _ in 0..*rounds {
            let inputs = ["--documents", "documents.jsonl", "--questions", "questions.jsonl"];
            for (precision, costs) in precisions.iter().zip(&mut polyqa_costs) {
                let arguments = [&inputs[..], &["--precision", precision]].concat();
                costs.push(self.run_polyqa(&arguments)?);
            }
            for (runtime, (costs, inference)) in runtimes.iter().zip(&mut pipeline_costs) {
                let (cost, report) = self.run_pipeline("pairs.json", runtime)?;
                assert_eq!(report["windows"], n_windows, "the windows differ");
                costs.push(cost);
                // The time without imports and loading, in the type that `median` requires.
                let wall = report["seconds"].as_f64().unwrap();
                inference.push(ResourceUse { wall, ..ResourceUse::default() });
            }
        }
        let rate = |wall: f64| n_windows as f64 / wall;
        println!(
            "{n_windows} windows\n\n\
             | program | windows/s | without imports and loading | CPU s | MiB |\n\
             |---|---:|---:|---:|---:|"
        );
        let print_row = |name: &str, cost: ResourceUse, inference_rate: Option<f64>| {
            let ResourceUse { wall, cpu, peak_mib } = cost;
            let inference_rate =
                inference_rate.map_or_else(|| "–".to_owned(), |rate| format!("{rate:.2}"));
            println!(
                "| {name} | {:.2} | {inference_rate} | {cpu:.1} | {peak_mib:.0} |",
                rate(wall)
            );
        };
        let mut baseline = None;
        for (runtime, (costs, inference)) in runtimes.iter().zip(&pipeline_costs) {
            let inference_rate = rate(median(inference).wall);
            print_row(&format!("pipeline, {runtime}"), median(costs), Some(inference_rate));
            baseline = baseline.or(Some((runtime, inference_rate)));
        }
        for (precision, costs) in precisions.iter().zip(&polyqa_costs) {
            print_row(&format!("`polyqa answer`, {precision}"), median(costs), None);
        }
        println!();
        for (precision, costs) in precisions.iter().zip(&polyqa_costs) {
            let Some((runtime, baseline)) = baseline else { break };
            let ratio = rate(median(costs).wall) / baseline;
            println!("{precision}, whole program / {runtime} without imports: {ratio:.2}");
        }
        Ok(())
    }
}

/// Returns pairs of questions and contexts as JSON, the input of the pipeline's program.
fn pairs_json(questions: &[Question]) -> String {
    let pair = |qa: &Question| json!({"question": qa.question, "context": &*qa.context});
    Value::from_iter(questions.iter().map(pair)).to_string()
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let Some(setup) = Setup::new("answer", &options.model)? else { return Ok(()) };
    for path in fs::read_dir(&setup.folder)?.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "onnx") {
            fs::remove_file(path)?;
        }
    }
    let bench = Bench { options, setup };
    let Options { languages, contexts, questions, .. } = &bench.options;
    let (mut documents, mut questions_by_language) = (Vec::new(), Vec::new());
    for language in languages {
        let mut language_questions = bench.setup.questions(language)?;
        language_questions.truncate(*contexts);
        let texts: Vec<&str> = language_questions.iter().map(|qa| &*qa.context).collect();
        documents.push(texts.join("\n"));
        questions_by_language.push(language_questions);
    }
    let mut sample: Vec<Question> = Vec::new();
    for index in 0..*questions {
        let source = &questions_by_language[index % questions_by_language.len()];
        let id = index.to_string();
        sample.push(Question { id, ..source[index % source.len()].clone() });
    }
    bench.check_equal_answers(&sample)?;
    let n_windows = bench.write_inputs(&documents, &sample)?;
    bench.compare(n_windows)
}
