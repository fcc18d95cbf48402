//! `polyqa serve`.
mod engine;
mod host;
mod http;
mod request;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use collection::Collection;

use crate::collection_search::check_retriever;
use crate::program::index::warn_of_missing_embeddings;
use crate::program::model::{ReaderArgs, RetrieverArgs};
use crate::shared_batches::Cutter;

/// Serve answers over HTTP, with a web page
///
/// The model is loaded once. Windows of concurrent requests share batches, so that a short text
/// does not wait for a long one.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub reader: ReaderArgs,
    #[command(flatten)]
    retriever: RetrieverArgs,
    /// Collection made by `polyqa index` that is searched for questions without documents. Changes
    /// by `polyqa index` are visible without a restart
    #[arg(long, value_name = "DIR", help_heading = "Retrieval")]
    collection: Option<PathBuf>,
    /// Address to listen on; a non-loopback address exposes the service to the network
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", value_parser = parse_host, help_heading = "Service")]
    host: IpAddr,
    /// Host name by which clients and proxies reach the service, in addition to localhost and IP
    /// addresses; requests for any other host name receive status 421
    #[arg(long, value_name = "NAME", help_heading = "Service")]
    allow_host: Vec<String>,
    /// Port to listen on; 0 selects a free port
    #[arg(long, value_name = "N", default_value_t = 8080, help_heading = "Service")]
    port: u16,
    #[command(flatten)]
    limits: Limits,
}

/// Parses an IP address or `localhost`.
fn parse_host(host: &str) -> Result<IpAddr, String> {
    match host {
        "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
        _ => host.parse().map_err(|_| {
            "expected an IP address such as 127.0.0.1, or localhost; 0.0.0.0 listens on all networks, and \
             --allow-host accepts a name in requests"
                .to_owned()
        }),
    }
}

/// Limits per request and over all concurrent requests.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Maximum size of a request body in bytes
    #[arg(long, value_name = "N", default_value_t = 16 << 20)]
    max_body: usize,
    /// Maximum number of documents per request
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max_documents: usize,
    /// Maximum number of questions per request
    #[arg(long, value_name = "N", default_value_t = 100)]
    max_questions: usize,
    /// Maximum number of concurrent requests; further requests receive status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    max_requests: usize,
    /// Maximum number of windows over all concurrent requests
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_windows: usize,
    /// Maximum number of open connections; further connections wait
    #[arg(long, value_name = "N", default_value_t = 256)]
    max_connections: usize,
    /// Maximum time per request in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    timeout: u64,
    /// Time in milliseconds that an idle service waits after a request for other requests that
    /// share its batch
    #[arg(long, value_name = "MS", default_value_t = 2)]
    gather: u64,
}

const EXAMPLES: &str = "\
Examples:
  polyqa serve
  polyqa serve --model deepset/xlm-roberta-base-squad2 --port 9000 --device cuda
  polyqa serve --model runs/mine/model --retriever intfloat/multilingual-e5-small
  polyqa serve --model runs/mine/model --collection library

  curl -s 127.0.0.1:8080/answer -H 'content-type: application/json' \\
    -d '{\"question\": \"Wo liegt Lima?\", \"text\": \"Lima is the capital of Peru.\"}'

POST /answer takes a question or questions, and a text or documents:
  {\"questions\": [\"Where?\", {\"id\": \"b\", \"question\": \"Who?\"}],
   \"documents\": [\"A text.\", {\"id\": \"peru\", \"text\": \"…\"}], \"answers\": 3}
and returns {\"results\": [...]}, one object per question, as printed by `polyqa answer --json`.
With --collection, text and documents may be absent: the answers are those in the collection.
POST /text?name=FILE takes a PDF, HTML, Markdown or text file (application/octet-stream) and returns its text:
  curl -s '127.0.0.1:8080/text?name=a.pdf' -H 'content-type: application/octet-stream' \\
    --data-binary @a.pdf
BM25 selects the 50 best passages per question; with --retriever, BM25 and the retriever select them.
GET /health returns the state, the model, its precision and the collection's number of documents. An error is {\"error\": {\"code\": \"…\", \"message\": \"…\"}}.
A request that fails because of a fault in polyqa has status 500; the service logs the fault and continues.
On SIGTERM or SIGINT the service finishes accepted requests and exits; a second signal exits at once.";

pub fn run(args: &Args) -> Result<()> {
    args.reader.check()?;
    let limits = args.limits.clone();
    let limit_values = [
        ("--max-body", limits.max_body as u64),
        ("--max-documents", limits.max_documents as u64),
        ("--max-questions", limits.max_questions as u64),
        ("--max-requests", limits.max_requests as u64),
        ("--max-windows", limits.max_windows as u64),
        ("--max-connections", limits.max_connections as u64),
        ("--timeout", limits.timeout),
    ];
    for (name, count) in limit_values {
        // Semaphores enforce the limits and have at most this many permits.
        let max = (tokio::sync::Semaphore::MAX_PERMITS as u64).min(u32::MAX.into());
        ensure!((1..=max).contains(&count), "{name} must be 1 to {max}");
    }
    // The port is bound before the model is loaded, so that an unavailable port is reported
    // immediately.
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok((listener.local_addr()?, listener))
    });
    let (address, listener) = listener.with_context(|| format!("cannot listen on {address}"))?;
    let collection = args.collection.as_ref().map(Collection::open).transpose()?;
    let (reader, model) = args.reader.load(None)?;
    let retriever = args.retriever.load(&reader)?;
    if let (Some(collection), Some(retriever)) = (&collection, &retriever) {
        let snapshot = collection.snapshot()?;
        check_retriever(collection.folder(), &snapshot, retriever)?;
        warn_of_missing_embeddings(collection, &snapshot)?;
    }
    let (jobs, job_receiver) = mpsc::channel();
    let max_answers = reader.decoding().n_best.max(args.reader.answers);
    let gather_time = Duration::from_millis(limits.gather);
    let tokenizer = reader.pretrained.tokenizer.clone();
    let cutter = Cutter::new(tokenizer, reader.windows().clone(), retriever);
    let cutter = cutter.with_collection(collection);
    let answers = (args.reader.answers, max_answers);
    let model_info = (model, reader.precision());
    let allowed_hosts = args.allow_host.clone();
    let service = http::Service::new(limits, allowed_hosts, jobs, cutter, model_info, answers);
    // The model is evaluated in this thread, for which libtorch's threads are configured. The HTTP
    // server runs in a separate thread.
    let http_thread = std::thread::Builder::new()
        .name("http".into())
        .spawn(move || http::serve(listener, service))
        .context("cannot start a thread")?;
    cli::print_stderr(&format!("serving on http://{address}"));
    engine::run(&reader, &job_receiver, gather_time);
    match http_thread.join() {
        Ok(result) => result.context("the service"),
        Err(_) => anyhow::bail!("the service stopped unexpectedly"),
    }
}
