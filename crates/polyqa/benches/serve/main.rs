//! Compares the latency of `polyqa serve` with the latency of a FastAPI service over the pipeline
//! of transformers 4. Each client sends its requests sequentially.
//!
//! All services run the same model on the CPU, with equal windows and requests. Each request is one
//! question about one XQuAD paragraph. The services run one after the other.
#![allow(clippy::unwrap_used, missing_docs)] // a program for developers

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use mlqa_eval::Question;
use serde_json::{Value, json};

#[path = "../common/mod.rs"]
mod common;
use common::Setup;

/// Compares `polyqa serve` with FastAPI over transformers' pipeline.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    model: common::ModelOptions,
    /// Languages of XQuAD; requests alternate between them
    #[arg(long, value_delimiter = ',', default_value = "en,de,es,ar,zh")]
    languages: Vec<String>,
    /// Requests per run
    #[arg(long, default_value_t = 200)]
    requests: usize,
    /// Numbers of concurrent clients; one run per number
    #[arg(long, value_delimiter = ',', default_value = "1,8")]
    clients: Vec<usize>,
    /// Precisions of `polyqa serve`
    #[arg(long, value_delimiter = ',', default_value = "f32,bf16,int8")]
    precisions: Vec<String>,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

/// A running service and its address.
struct Service(Child, String);

impl Service {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("serving on ")?.to_owned()))
            .unwrap();
        thread::spawn(move || lines.for_each(drop));
        Self(child, address)
    }

    fn peak_mib(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Returns each request's latency and the total time, in seconds.
    fn send_requests(&self, requests: &[String], clients: usize) -> (Vec<f64>, f64) {
        let (next_index, start) = (AtomicUsize::new(0), Instant::now());
        let client = || {
            let agent = ureq::Agent::new_with_defaults();
            let mut latencies = Vec::new();
            while let Some(body) = requests.get(next_index.fetch_add(1, Ordering::Relaxed)) {
                let request_start = Instant::now();
                let request = agent.post(format!("{}/answer", self.1));
                let mut response = request.content_type("application/json").send(body).unwrap();
                let answer = response.body_mut().read_to_string().unwrap();
                latencies.push(request_start.elapsed().as_secs_f64());
                let answer: Value = serde_json::from_str(&answer).unwrap();
                assert!(!answer["results"].as_array().unwrap().is_empty());
            }
            latencies
        };
        let mut latencies: Vec<f64> = thread::scope(|scope| {
            let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        latencies.sort_by(f64::total_cmp);
        (latencies, start.elapsed().as_secs_f64())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the JSON bodies of `options.requests` requests. Each has one question and its context;
/// consecutive requests alternate between languages.
fn requests(setup: &Setup, options: &Options) -> io::Result<Vec<String>> {
    let by_language: Vec<Vec<Question>> =
        options.languages.iter().map(|code| setup.questions(code)).collect::<io::Result<_>>()?;
    let request = |index: usize| {
        let questions = &by_language[index % by_language.len()];
        let Question { question, context, .. } =
            &questions[index / by_language.len() % questions.len()];
        json!({"question": question, "text": &**context}).to_string()
    };
    Ok((0..options.requests).map(request).collect())
}

fn main() -> io::Result<()> {
    let options = Options::parse();
    if !options.bench {
        return Ok(());
    }
    let Some(setup) = Setup::new("serve", &options.model)? else { return Ok(()) };
    let requests = requests(&setup, &options)?;
    let threads = thread::available_parallelism()?.to_string();
    let fastapi = |order: &str, dtype: &str| {
        (format!("FastAPI, {order}, {dtype}"), setup.baseline(&[&threads, order, dtype]))
    };
    let polyqa = |precision: &String| {
        let command = setup.polyqa("serve", &["--port", "0", "--precision", precision]);
        (format!("`polyqa serve`, {precision}"), command)
    };
    let baselines =
        [fastapi("turns", "float32"), fastapi("together", "float32"), fastapi("turns", "bfloat16")];
    println!(
        "{} requests\n\n| clients | service | p50, ms | p99, ms | requests/s | MiB |\n\
         |---:|---|---:|---:|---:|---:|",
        requests.len()
    );
    for (name, command) in baselines.into_iter().chain(options.precisions.iter().map(polyqa)) {
        let service = Service::start(command);
        for &clients in &options.clients {
            service.send_requests(&requests[..requests.len().min(2 * clients)], clients);
            let (latencies, wall) = service.send_requests(&requests, clients);
            let percentile = |share: f64| {
                latencies[((latencies.len() - 1) as f64 * share).round() as usize] * 1e3
            };
            let (p50, p99, rate) =
                (percentile(0.5), percentile(0.99), latencies.len() as f64 / wall);
            let peak_mib = service.peak_mib();
            println!("| {clients} | {name} | {p50:.0} | {p99:.0} | {rate:.2} | {peak_mib:.0} |");
        }
    }
    Ok(())
}
