//! The HTTP server: connections, limits and JSON responses.
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::Duration;

use atomic_file::one_line;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use percent_encoding::percent_decode_str;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};
use tokio::time::{sleep, timeout};
use tokio_io_timeout::TimeoutStream;
use torch_ext::Precision;

use super::engine::{Job, log_panic};
use super::request::{self, Refusal, Request};
use super::{Limits, host};
use crate::Error;
use crate::shared_batches::Cutter;

/// Maximum time for receiving a request's header or body, or for sending a part of the response.
const IO_TIMEOUT: Duration = Duration::from_secs(10);

/// The first bytes of gzip data.
const GZIP_SIGNATURE: &[u8] = &[0x1f, 0x8b];

/// Maximum number of requests whose documents are cut into windows concurrently.
const MAX_CUTTING_THREADS: usize = 4;

type Response = hyper::Response<Full<Bytes>>;

/// State shared by all requests.
pub struct Service {
    limits: Limits,
    /// Accepted host names in addition to `localhost`; see [`host::check`].
    hosts: Vec<String>,
    jobs: Sender<Job>,
    cutter: Arc<Cutter>,
    model: String,
    precision: Precision,
    /// Default and maximum number of answers per question.
    answers: (usize, usize),
    requests: Arc<Semaphore>,
    windows: Arc<Semaphore>,
    draining: AtomicBool,
}

impl Service {
    pub fn new(
        limits: Limits,
        hosts: Vec<String>,
        jobs: Sender<Job>,
        cutter: Cutter,
        (model, precision): (String, Precision),
        answers: (usize, usize),
    ) -> Self {
        let requests = Arc::new(Semaphore::new(limits.max_requests));
        let windows = Arc::new(Semaphore::new(limits.max_windows));
        let (cutter, draining) = (Arc::new(cutter), AtomicBool::new(false));
        Self { limits, hosts, jobs, cutter, model, precision, answers, requests, windows, draining }
    }
}

/// Serves requests until SIGTERM or SIGINT, and then completes the accepted requests.
pub fn serve(listener: TcpListener, service: Service) -> io::Result<()> {
    let runtime = Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(MAX_CUTTING_THREADS)
        .thread_name("cut")
        .build()?;
    runtime.block_on(accept(listener, Arc::new(service)))
}

async fn accept(listener: TcpListener, service: Arc<Service>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(IO_TIMEOUT).max_buf_size(1 << 16);
    let connections = Arc::new(Semaphore::new(service.limits.max_connections));
    let graceful = GracefulShutdown::new();
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    for signal_kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        torch_ext::handle_on_signal_stack(signal_kind.as_raw_value())?;
    }
    loop {
        let connection = async {
            let permit = connections.clone().acquire_owned().await;
            (permit, listener.accept().await)
        };
        let (permit, stream) = tokio::select! {
            connection = connection => connection,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        };
        let Ok((stream, _)) = stream else {
            // Accepting fails if there are too many open files or the client has disconnected.
            sleep(Duration::from_millis(50)).await;
            continue;
        };
        let connection = graceful.watch(serve_connection(&http, stream, &service));
        tokio::spawn(async move {
            // A client that disconnects is not an error of the service.
            let _ = connection.await;
            drop(permit);
        });
    }
    service.draining.store(true, Ordering::Relaxed);
    drop(listener);
    let max_drain = Duration::from_secs(service.limits.timeout).saturating_add(IO_TIMEOUT);
    tokio::select! {
        _ = timeout(max_drain, graceful.shutdown()) => Ok(()),
        // `std::process::exit` would run libtorch's exit handlers during a computation.
        _ = terminate.recv() => signal_hook::low_level::exit(143),
        _ = interrupt.recv() => signal_hook::low_level::exit(130),
    }
}

fn serve_connection(
    http: &http1::Builder,
    stream: TcpStream,
    service: &Arc<Service>,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<> {
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(IO_TIMEOUT));
    let service = service.clone();
    let respond = service_fn(move |request| {
        let service = service.clone();
        async move {
            let response = catch_panic(respond(&service, request)).await;
            Ok::<_, Infallible>(response.unwrap_or_else(Refusal::into_response))
        }
    });
    http.serve_connection(TokioIo::new(Box::pin(stream)), respond)
}

/// Returns the response of `respond`, or status 500 if it panics.
async fn catch_panic(
    respond: impl Future<Output = Result<Response, Refusal>>,
) -> Result<Response, Refusal> {
    let mut respond = pin!(respond);
    poll_fn(|context| {
        let polled = log_panic(|| respond.as_mut().poll(context));
        polled.unwrap_or_else(|| Poll::Ready(Err(internal_error())))
    })
    .await
}

async fn respond(
    service: &Arc<Service>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Refusal> {
    host::check(request.headers(), request.uri(), &service.hosts)?;
    let is_get = [Method::GET, Method::HEAD].contains(request.method());
    match request.uri().path() {
        "/" if is_get => Ok(page("text/html; charset=utf-8", include_str!("page.html"))),
        "/page.css" if is_get => Ok(page("text/css; charset=utf-8", include_str!("page.css"))),
        "/page.js" if is_get => Ok(page("text/javascript; charset=utf-8", include_str!("page.js"))),
        "/health" if is_get => Ok(health(service)),
        "/answer" if request.method() == Method::POST => {
            with_timeout(service, answer_request(service, request)).await
        }
        "/text" if request.method() == Method::POST => {
            with_timeout(service, extract_text(service, request)).await
        }
        "/" | "/page.css" | "/page.js" | "/health" | "/answer" | "/text" => {
            let message = "use POST for /answer and /text, and GET for other paths";
            Err(Refusal::new(405, "method_not_allowed", message))
        }
        _ => {
            let message = "not found (available: /, /answer, /text, /health)";
            Err(Refusal::new(404, "not_found", message))
        }
    }
}

/// Returns a file of the web page. The headers forbid the page to load content from other hosts,
/// and forbid other pages to embed the page.
fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, content_type),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    response(200, &headers, Bytes::from_static(text.as_bytes()))
}

fn json_response(status: u16, value: &impl serde::Serialize) -> Response {
    let headers =
        [(header::CONTENT_TYPE, "application/json"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    let body = serde_json::to_vec(value).expect("responses have only text keys");
    response(status, &headers, body.into())
}

fn response(status: u16, headers: &[(HeaderName, &'static str)], body: Bytes) -> Response {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status of this service");
    for (name, value) in headers {
        response.headers_mut().insert(name.clone(), HeaderValue::from_static(value));
    }
    response
}

fn health(service: &Service) -> Response {
    let Service { limits, requests, windows, .. } = service;
    let draining = service.draining.load(Ordering::Relaxed);
    let mut health = json!({
        "status": if draining { "draining" } else { "ok" },
        "model": service.model,
        "precision": service.precision.name(),
        "version": env!("CARGO_PKG_VERSION"),
        "requests": limits.max_requests.saturating_sub(requests.available_permits()),
        "windows": limits.max_windows.saturating_sub(windows.available_permits()),
    });
    if let Some(collection) = service.cutter.collection() {
        match collection.snapshot() {
            Ok(snapshot) => health["documents"] = json!(snapshot.document_count()),
            Err(error) => {
                cli::print_stderr(&format!("error: {error}"));
                health["status"] = json!("damaged collection");
                return json_response(503, &health);
            }
        }
    }
    json_response(if draining { 503 } else { 200 }, &health)
}

async fn with_timeout(
    service: &Service,
    response: impl Future<Output = Result<Response, Refusal>>,
) -> Result<Response, Refusal> {
    let seconds = service.limits.timeout;
    timeout(Duration::from_secs(seconds), response).await.unwrap_or_else(|_| {
        let message = format!("not answered within {seconds} seconds");
        Err(Refusal::new(504, "timeout", message))
    })
}

/// Receives a body of one of these content types, which are not those of HTML forms. The permit
/// counts the request toward the limit of concurrent requests.
async fn receive(
    service: &Service,
    headers: &HeaderMap,
    mut body: Incoming,
    content_types: &[&str],
) -> Result<(Bytes, OwnedSemaphorePermit), Refusal> {
    if service.draining.load(Ordering::Relaxed) {
        return Err(Refusal::new(503, "draining", "the service is shutting down"));
    }
    // The content type is checked to reject requests from pages of other origins: browsers send
    // these types to another origin only after a preflight request, which this service rejects.
    let is_accepted = headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let name = value.as_bytes().split(|&byte| byte == b';').next();
        let is_type = |name: &[u8], accepted: &&str| {
            name.trim_ascii().eq_ignore_ascii_case(accepted.as_bytes())
        };
        name.is_some_and(|name| content_types.iter().any(|accepted| is_type(name, accepted)))
    });
    if !is_accepted {
        let message = format!("the content type must be {}", content_types.join(" or "));
        return Err(Refusal::new(415, "unsupported_media_type", message));
    }
    let encoding = headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes);
    if encoding.is_some_and(|name| !name.trim_ascii().eq_ignore_ascii_case(b"identity")) {
        return Err(compressed_body());
    }
    let max_body = service.limits.max_body;
    let too_large =
        || Refusal::new(413, "too_large", format!("the body has more than {max_body} bytes"));
    let permit = service.requests.clone().try_acquire_owned().map_err(too_many_requests)?;
    let received = timeout(IO_TIMEOUT, Limited::new(&mut body, max_body).collect()).await;
    match received {
        Ok(Ok(body)) => Ok((body.to_bytes(), permit)),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body);
            Err(too_large())
        }
        Ok(Err(_)) => Err(Refusal::new(400, "bad_request", "the request body is incomplete")),
        Err(_) => {
            discard(body);
            Err(Refusal::new(408, "slow", "timed out while reading the request body"))
        }
    }
}

fn too_many_requests(_: TryAcquireError) -> Refusal {
    let message = "too many concurrent requests or windows; retry later";
    Refusal::new(429, "too_many_requests", message)
}

/// Returns the text of a document in the body, as [`documents::extract`] does.
async fn extract_text(
    service: &Arc<Service>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let pairs = parts.uri.query().into_iter().flat_map(|query| query.split('&'));
    let name = pairs.filter_map(|pair| pair.strip_prefix("name=")).next().unwrap_or("document"); // no name
    let name = percent_decode_str(name).decode_utf8_lossy().into_owned();
    let content_types = ["application/octet-stream", "application/pdf"];
    let (body, permit) = receive(service, &parts.headers, body, &content_types).await?;
    let extract = move || {
        let result = documents::extract(&name, body.to_vec());
        drop(permit);
        result
    };
    let extracted = tokio::task::spawn_blocking(|| log_panic(extract)).await;
    let extracted = extracted.map_err(|_| internal_error())?.ok_or_else(internal_error)?;
    let extracted =
        extracted.map_err(|error| Refusal::new(422, "unreadable", one_line(&error.to_string())))?;
    let documents::Extracted { text, title, language, warnings } = extracted;
    let pages = Some(text.matches(documents::PAGE_BREAK).count()).filter(|&count| count > 0);
    let value = json!({
        "text": text, "title": title, "language": language, "pages": pages, "warnings": warnings,
    });
    Ok(json_response(200, &value))
}

async fn answer_request(
    service: &Arc<Service>,
    request: hyper::Request<Incoming>,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let (body, request_permit) =
        receive(service, &parts.headers, body, &["application/json"]).await?;
    if body.starts_with(GZIP_SIGNATURE) {
        return Err(compressed_body());
    }
    let worker_service = service.clone();
    // The request counts toward the limit of concurrent requests until its documents are cut, even
    // if the client disconnects.
    let cut = move || {
        let Service { cutter, limits, .. } = &*worker_service;
        let collection = cutter.collection();
        let Request { queries, documents, answers } =
            Request::read(&body, limits, worker_service.answers, collection.is_some())?;
        let max_windows = limits.max_windows;
        let reading = match (documents, collection) {
            (Some(documents), _) => cutter.cut(queries, &documents.into(), max_windows),
            (None, Some(collection)) => cutter.cut_collection(queries, collection, max_windows),
            (None, None) => unreachable!("`read` requires documents without a collection"),
        };
        match reading {
            Ok(Some(reading)) => Ok((reading, answers, request_permit)),
            Ok(None) => {
                let message =
                    format!("more than {max_windows} windows; send fewer questions or documents");
                Err(Refusal::new(413, "too_large", message))
            }
            Err(Error::Collection(collection::Error::Empty { .. })) => {
                Err(Refusal::new(422, "empty", "the collection has no documents"))
            }
            // A damaged collection is not the client's fault.
            Err(Error::Collection(error)) => {
                cli::print_stderr(&format!("error: {error}"));
                Err(internal_error())
            }
            Err(error) => Err(Refusal::new(422, "unreadable", one_line(&error.to_string()))),
        }
    };
    let cut_task = tokio::task::spawn_blocking(|| log_panic(cut));
    let cut = cut_task.await.map_err(|_| internal_error())?.ok_or_else(internal_error)?;
    let (reading, max_answers, request_permit) = cut?;
    let count = u32::try_from(reading.n_windows()).expect("--max-windows is below 2^32");
    let permits =
        service.windows.clone().try_acquire_many_owned(count).map_err(too_many_requests)?;
    let (reply, receiver) = oneshot::channel();
    let job = Job { reading, max_answers, reply, permits: [request_permit, permits] };
    service.jobs.send(job).map_err(|_| internal_error())?;
    match receiver.await {
        Ok(Ok(results)) => Ok(json_response(200, &request::Response { results })),
        // This error reports non-finite logits for a question of the client. The details of other
        // model errors are not sent to clients.
        Ok(Err(Error::Tasks(tasks::Error::Eval(error)))) => {
            Err(Refusal::new(422, "unreadable", one_line(&error.to_string())))
        }
        Ok(Err(_)) | Err(_) => Err(internal_error()),
    }
}

/// Reads and discards the rest of a body for a limited time. If the connection were closed with
/// unread data, the client would receive a reset, and could lose the response.
fn discard(mut body: Incoming) {
    tokio::spawn(timeout(IO_TIMEOUT, async move { while let Some(Ok(_)) = body.frame().await {} }));
}

fn compressed_body() -> Refusal {
    let message = "compressed request bodies are not supported; send plain JSON";
    Refusal::new(415, "unsupported_media_type", message)
}

fn internal_error() -> Refusal {
    Refusal::new(500, "internal", "inference failed; the cause is in the service's log")
}

impl Refusal {
    fn into_response(self) -> Response {
        let Self { status, code, message } = self;
        let mut response =
            json_response(status, &json!({"error": {"code": code, "message": message}}));
        if [429, 503].contains(&status) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests
mod tests {
    use mlqa_eval::{Window, WindowConfig};
    use serde_json::Value;

    use super::super::engine::{self, Logits, Model};
    use super::*;
    use crate::Answers;
    use crate::shared_batches::Reading;

    /// A model that panics for long questions, and for requests with three questions.
    struct FaultyModel;

    impl Model for FaultyModel {
        fn batch_size(&self) -> usize {
            8
        }

        fn needs_similar_lengths(&self) -> bool {
            false
        }

        fn logits(&self, windows: &[&Window]) -> crate::Result<Vec<Logits>> {
            assert!(windows.iter().all(|window| window.question_end < 20), "a long question");
            Ok(windows.iter().map(|_| Default::default()).collect())
        }

        fn answers(&self, reading: Reading, _: usize) -> crate::Result<Vec<Answers>> {
            assert_ne!(reading.n_windows(), 3, "three questions");
            Ok(Vec::new())
        }
    }

    /// Serves connections to the returned address in a separate thread.
    fn start() -> String {
        let limits = Limits {
            max_body: 1 << 20,
            max_documents: 9,
            max_questions: 9,
            max_requests: 9,
            max_windows: 99,
            max_connections: 9,
            timeout: 60,
            gather: 50,
        };
        let tokenizer = tokenizer_file::read(testkit::fixture("tokenizer.json")).unwrap();
        let cutter = Cutter::new(tokenizer, WindowConfig::default(), None);
        let (jobs, receiver) = std::sync::mpsc::channel();
        let model = ("model".to_owned(), Precision::F32);
        let service = Arc::new(Service::new(limits, Vec::new(), jobs, cutter, model, (1, 5)));
        std::thread::spawn(move || engine::run(&FaultyModel, &receiver, Duration::from_millis(50)));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                let mut http = http1::Builder::new();
                http.timer(TokioTimer::new());
                loop {
                    let (stream, _) = listener.accept().await.unwrap();
                    tokio::spawn(serve_connection(&http, stream, &service));
                }
            })
        });
        address
    }

    /// Sends a request with these questions; returns the status and the body of the response.
    fn answer(address: &str, questions: &[&str]) -> (u16, Value) {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build();
        let body = json!({"questions": questions, "text": "Lima is the capital of Peru."});
        let request = ureq::Agent::new_with_config(agent).post(format!("http://{address}/answer"));
        let request = request.header("content-type", "application/json");
        let mut response = request.send(body.to_string()).unwrap();
        let text = response.body_mut().read_to_string().unwrap();
        (response.status().as_u16(), serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn a_panic_fails_only_its_request() {
        let address = start();
        let long = "Which city is the capital of Peru and which of Chile ? ".repeat(3);
        // The requests share a batch, because the engine waits for further requests.
        std::thread::scope(|scope| {
            let faulty = scope.spawn(|| answer(&address, &[&long]));
            let valid = scope.spawn(|| answer(&address, &["Where?"]));
            let (status, body) = faulty.join().unwrap();
            assert_eq!((status, body["error"]["code"].as_str()), (500, Some("internal")), "{body}");
            assert_eq!(valid.join().unwrap(), (200, json!({"results": []})));
        });
        let (status, body) = answer(&address, &["Who?", "Where?", "When?"]);
        assert_eq!((status, body["error"]["code"].as_str()), (500, Some("internal")), "{body}");
        assert_eq!(answer(&address, &["Where?"]), (200, json!({"results": []})));
    }

    #[test]
    fn a_panic_of_a_handler_is_an_internal_error() {
        let runtime = Builder::new_current_thread().build().unwrap();
        let refusal = runtime.block_on(catch_panic(async { panic!("a fault") })).unwrap_err();
        assert_eq!(refusal.into_response().status(), 500);
    }
}
