//! Tests of the HTTP service.
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use testkit::{Browser, Program};

use crate::common::{pdf, polyqa};

const JSON: &str = "application/json";

/// A service with a reader of random weights on a free port.
pub(crate) struct Service {
    child: Child,
    pub address: String,
    pub program: Program,
}

impl Service {
    fn start(options: &str) -> Self {
        Self::start_in(polyqa(), options)
    }

    /// Starts the service of a program whose folder has further files.
    pub fn start_in(program: Program, options: &str) -> Self {
        let line = format!("serve --model model --port 0 {options}");
        let mut child = program.command(&line).stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("serving on http://");
        let address = address.unwrap_or_else(|| panic!("{line}")).to_owned();
        // Standard error is drained, so that the service does not block on a full pipe.
        thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::stderr()));
        Self { child, address, program }
    }

    pub fn client(&self) -> Client {
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Client { agent, address: self.address.clone() }
    }

    /// Opens a connection and sends a request or a part of a request.
    fn send(&self, request: impl AsRef<[u8]>) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_ref()).unwrap();
        stream
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().unwrap().success());
    }

    fn wait_for_exit_code(mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }

    /// Returns the resident memory in MiB.
    fn memory_mib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() / 1024
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a response until the service closes the connection.
fn read_all(mut stream: TcpStream) -> String {
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply
}

fn read_line(stream: &TcpStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    line
}

pub(crate) struct Client {
    agent: ureq::Agent,
    address: String,
}

pub(crate) struct Reply {
    pub status: u16,
    retry_after: Option<String>,
    pub body: Value,
}

impl Client {
    fn send(&self, content_type: &str, body: &[u8]) -> Reply {
        self.send_to("answer", content_type, body)
    }

    fn send_to(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        let url = format!("http://{}/{path}", self.address);
        let mut response = self.agent.post(url).content_type(content_type).send(body).unwrap();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        let text = response.body_mut().read_to_string().unwrap();
        assert!(!text.contains("/tmp"), "{text}");
        let body = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        Reply { status: response.status().as_u16(), retry_after, body }
    }

    pub fn post(&self, body: &Value) -> Reply {
        self.send(JSON, body.to_string().as_bytes())
    }

    fn get(&self, path: &str) -> ureq::http::Response<ureq::Body> {
        self.agent.get(format!("http://{}{path}", self.address)).call().unwrap()
    }

    pub fn health(&self) -> Value {
        json_body(self.get("/health"))
    }
}

fn json_body(mut response: ureq::http::Response<ureq::Body>) -> Value {
    serde_json::from_str(&response.body_mut().read_to_string().unwrap()).unwrap()
}

/// Returns the header of a request and a part of its body.
fn request_start(length: usize, part: &str) -> String {
    format!(
        "POST /answer HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\n\
         content-length: {length}\r\n\r\n{part}"
    )
}

/// Returns a text with about `count` words.
fn text_of_words(count: usize) -> String {
    "Lima liegt in Peru und nicht in Ecuador. ".repeat(count / 8)
}

#[test]
fn answers_are_those_of_the_command_line() {
    let service = Service::start("");
    let documents = [
        json!({"id": "peru", "text": text_of_words(900)}),
        json!({"id": "emoji", "text": "👩‍👩‍👧 e\u{301}tudie à Lima.\r\nリマはペルーの首都です。"}),
        json!({"id": "empty", "text": ""}),
    ];
    let questions = [json!({"id": "a", "question": "Wo?"}), json!({"id": "b", "question": "Qui?"})];
    let rows = |rows: &[Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    service.program.write("d.jsonl", rows(&documents));
    service.program.write("q.jsonl", rows(&questions));
    let output = service
        .program
        .expect_success("answer --model model --questions q.jsonl --documents d.jsonl --json -n 2");
    let expected: Vec<Value> =
        output.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let request = json!({"questions": questions, "documents": documents, "answers": 2});
    let reply = service.client().post(&request);
    assert_eq!(reply.status, 200, "{}", reply.body);
    assert_equal_answers(&reply.body["results"], &Value::from(expected));
}

/// Compares answers, with a tolerance for rounding in batches.
fn assert_equal_answers(actual: &Value, expected: &Value) {
    match (actual, expected) {
        (Value::Array(actual), Value::Array(expected)) => {
            assert_eq!(actual.len(), expected.len());
            actual.iter().zip(expected).for_each(|(a, b)| assert_equal_answers(a, b));
        }
        (Value::Object(actual), Value::Object(expected)) => {
            assert!(actual.keys().eq(expected.keys()));
            actual.iter().for_each(|(key, value)| assert_equal_answers(value, &expected[key]));
        }
        (Value::Number(actual), Value::Number(expected)) => {
            let (actual, expected) = (actual.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((actual - expected).abs() < 1e-5, "{actual} {expected}");
        }
        _ => assert_eq!(actual, expected),
    }
}

#[test]
fn request_errors_are_reported_as_json() {
    let service = Service::start(
        "--max-body 9000 --max-documents 2 --max-questions 2 --max-windows 20 --max-length 56 \
         --doc-stride 8",
    );
    let client = service.client();
    let valid = json!({"question": "Wo?", "text": "Hier."}).to_string();
    let padded = |length: usize| format!("{valid:length$}");
    let long_request = json!({"question": "Wo?", "text": text_of_words(1000)}).to_string();
    let question = json!({"question": text_of_words(60), "text": "Hier."}).to_string();
    let requests: [(&str, &str, u16, &str); 8] = [
        (JSON, &padded(9000), 200, ""),
        ("application/json; charset=utf-8", &valid, 200, ""),
        (JSON, &padded(9001), 413, "too_large"),
        (JSON, &long_request, 413, "too_large"),
        (JSON, &question, 200, ""),
        ("text/plain", &valid, 415, "unsupported_media_type"),
        (JSON, "{", 400, "bad_request"),
        (JSON, r#"{"question": "a", "documents": ["a", "b", "c"]}"#, 413, "too_large"),
    ];
    for (content_type, body, status, code) in requests {
        let reply = client.send(content_type, body.as_bytes());
        assert_eq!(reply.status, status, "{body:.60}: {}", reply.body);
        assert_eq!(reply.body["error"]["code"].as_str().unwrap_or_default(), code);
    }
    // Compressed bodies are refused, with and without the header that declares them.
    let reply = client.send(JSON, &testkit::gzip(&valid));
    assert_eq!(
        (reply.status, &reply.body["error"]["code"]),
        (415, &"unsupported_media_type".into())
    );
    let start = format!(
        "POST /answer HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\ncontent-encoding: br\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{valid}",
        valid.len()
    );
    let reply = read_all(service.send(start));
    assert!(reply.starts_with("HTTP/1.1 415") && reply.contains("compressed"), "{reply}");
    // This request is chunked, so the length of its body is not declared in advance.
    let start = format!("POST /answer HTTP/1.1\r\nhost: localhost\r\ncontent-type: {JSON}\r\n");
    let mut stream =
        service.send(start + "transfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    let _ = write!(stream, "2711\r\n{}\r\n0\r\n\r\n", " ".repeat(10_001));
    let reply = read_all(stream);
    assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    // Unknown paths and wrong methods.
    for (path, status) in [("/nowhere", 404), ("/../etc/passwd", 404), ("/answer", 405)] {
        let response = client.get(path);
        assert_eq!(response.status(), status);
        assert!(json_body(response)["error"]["message"].is_string());
    }
    let health = client.health();
    assert_eq!((&health["model"], &health["requests"]), (&"model".into(), &0.into()));
    assert_eq!(health["precision"], "f32");
    // Host names that a web page may control are rejected.
    let request = "GET /health HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n";
    let reply = read_all(service.send(request));
    assert!(reply.starts_with("HTTP/1.1 421") && reply.contains("misdirected_request"), "{reply}");
}

#[test]
fn the_text_of_a_file_is_returned() {
    let service = Service::start("--max-body 9000");
    let client = service.client();
    let file = pdf(&["Lima is in Peru.", "Quito"]);
    let reply = client.send_to("text?name=a%20b.pdf", "application/pdf", &file);
    let expected = json!({
        "text": "Lima is in Peru.\n\n\u{c}Quito\n\n\u{c}", "title": null, "language": null, "pages": 2,
        "warnings": [],
    });
    assert_eq!((reply.status, &reply.body), (200, &expected));
    let any = "application/octet-stream";
    let reply = client.send_to("text?name=a.html", any, b"<html lang=de><title>T</title><p>Lima");
    let expected =
        json!({"text": "Lima", "title": "T", "language": "de", "pages": null, "warnings": []});
    assert_eq!((reply.status, &reply.body), (200, &expected));
    let requests: [(&str, &str, &[u8], u16, &str); 4] = [
        ("text?name=scan.pdf", any, &pdf(&[""]), 422, "scan.pdf: no text on the page"),
        ("text", any, b"\xff", 422, "document"),
        ("text", "text/plain", b"Lima", 415, "application/octet-stream"),
        ("text", any, &[b' '; 9001], 413, "9000 bytes"),
    ];
    for (path, content_type, body, status, message) in requests {
        let reply = client.send_to(path, content_type, body);
        let actual = reply.body["error"]["message"].as_str().unwrap();
        assert!(reply.status == status && actual.contains(message), "{path}: {}", reply.body);
    }
}

#[test]
fn requests_over_the_limit_get_status_429() {
    let service = Service::start("--max-requests 1 --max-windows 50");
    let body = json!({"question": "Wo?", "text": "Hier."}).to_string();
    // An incomplete request occupies the only slot until its client disconnects.
    let mut incomplete = service.send(request_start(body.len(), "{"));
    let client = service.client();
    wait_until(|| client.health()["requests"] == 1);
    let reply = client.send(JSON, body.as_bytes());
    assert_eq!((reply.status, reply.retry_after.as_deref()), (429, Some("1")));
    assert_eq!(reply.body["error"]["code"], "too_many_requests");
    incomplete.write_all(&body.as_bytes()[1..]).unwrap();
    let line = read_line(&incomplete);
    assert!(line.starts_with("HTTP/1.1 200"), "{line}");
    let disconnected = service.send(request_start(body.len(), "{"));
    wait_until(|| client.health()["requests"] == 1);
    drop(disconnected);
    wait_until(|| client.health()["requests"] == 0);
    assert_eq!(client.send(JSON, body.as_bytes()).status, 200);
    // Slow headers and bodies time out.
    let slow_head = service.send("POST /answer HTT");
    // A client that sends slowly, and reads only after the time limit, receives the response.
    let mut slow_body = service.send(request_start(100, "{"));
    for _ in 0..24 {
        thread::sleep(Duration::from_millis(500));
        slow_body.write_all(b" ").unwrap();
    }
    let line = read_line(&slow_body);
    assert!(line.starts_with("HTTP/1.1 408"), "{line}");
    read_all(slow_head);
    assert_eq!(client.send(JSON, body.as_bytes()).status, 200);
}

fn wait_until(condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "the condition never held");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Short requests do not wait for long requests, and the evaluation of abandoned requests is
/// stopped. The service answers accepted requests before it exits.
#[test]
fn requests_run_concurrently_and_finish_before_shutdown() {
    let service = Service::start("--max-length 64 --doc-stride 16 --batch-size 4");
    let long_request = json!({"question": "Wo?", "text": text_of_words(12_000)}).to_string();
    let post = request_start(long_request.len(), &long_request);
    let client = service.client();
    let is_busy = || client.health()["windows"].as_u64() > Some(200);
    let canceled_request = service.send(&post);
    wait_until(is_busy);
    let short_reply = client.post(&json!({"question": "Wo?", "text": "Hier."}));
    assert_eq!(short_reply.status, 200);
    assert!(is_busy(), "the long request was answered first");
    drop(canceled_request);
    wait_until(|| client.health()["windows"] == 0);

    let pending = service.send(&post);
    wait_until(is_busy);
    service.signal("-TERM");
    wait_until(|| TcpStream::connect(&service.address).is_err());
    let reply = read_all(pending);
    assert!(reply.starts_with("HTTP/1.1 200") && reply.ends_with("}"), "{reply:.100}");
    assert_eq!(service.wait_for_exit_code(), Some(0));
}

#[test]
fn a_second_signal_stops_the_service_immediately() {
    let service = Service::start("--max-length 64 --doc-stride 16 --batch-size 1");
    let long_request = json!({"question": "Wo?", "text": text_of_words(80_000)}).to_string();
    let _pending = service.send(request_start(long_request.len(), &long_request));
    let client = service.client();
    wait_until(|| client.health()["windows"].as_u64() > Some(200));
    service.signal("-INT");
    wait_until(|| TcpStream::connect(&service.address).is_err());
    service.signal("-INT");
    assert_eq!(service.wait_for_exit_code(), Some(130));
}

/// Runs the requests of the README and of the guide "Use one crate".
#[test]
fn requests_of_the_documentation_are_answered() {
    let service = Service::start("");
    let blocks = [
        (include_str!("../../../../README.md"), "```sh\ncurl ", "sh"),
        (
            include_str!("../../../../docs/guides/use-one-crate.md"),
            "```python\nimport json, urllib",
            "python3",
        ),
    ];
    for (page, start, program) in blocks {
        let (_, after_start) = page.split_once(start).unwrap();
        let (_, first) = start.split_once('\n').unwrap();
        let block = format!("{first}{}", after_start.split_once("```").unwrap().0);
        assert!(block.contains("127.0.0.1:8080"), "{block}");
        let block = block.replace("127.0.0.1:8080", &service.address);
        let run = testkit::run_command(Command::new(program).args(["-c", &block]));
        assert_eq!((run.code, run.out.contains("Wo liegt Lima?")), (Some(0), true), "{run:?}");
    }
}

#[test]
fn the_page_loads_no_external_resources() {
    let service = Service::start("");
    let client = service.client();
    for (path, content_type) in
        [("/", "text/html"), ("/page.css", "text/css"), ("/page.js", "text/javascript")]
    {
        let mut response = client.get(path);
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        assert!(header("content-type").starts_with(content_type));
        assert!(header("content-security-policy").starts_with("default-src 'none'"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert!(response.headers().get("access-control-allow-origin").is_none());
        let text = response.body_mut().read_to_string().unwrap();
        assert!(!text.contains("://") && !text.contains("innerHTML"), "{path}");
    }
}

#[test]
fn the_page_marks_answers_and_escapes_markup() {
    let Some(browser) = Browser::find() else { return };
    let service = Service::start("");
    let texts = [
        "Lima liegt in Peru.",
        "👩‍👩‍👧 ليما هي عاصمة بيرو 🇵🇪 وأكبر مدنها.",
        "リマはペルーの首都です。👨‍👩‍👧‍👦 e\u{301}tudie",
        "</textarea><script>document.title='taken'</script><img src=x onerror=alert(1)> & 𝒳",
    ];
    for text in texts {
        let reply = service.client().post(&json!({"question": "Wo?", "text": text}));
        let best = &reply.body["results"][0]["answers"][0];
        let offset = |key: &str| usize::try_from(best[key].as_u64().unwrap()).unwrap();
        let (start, end) = (offset("start_byte"), offset("end_byte"));
        // The text is percent-encoded, as in browsers.
        let fragment: Vec<String> = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let url = format!("http://{}/#question=Wo%3F&text={}", service.address, fragment.concat());
        let dom = browser.load_dom(&url, 390);
        let escaped =
            |part: &str| part.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let marked_answer = format!("<mark class=\"best\">{}</mark>", escaped(&text[start..end]));
        let (_, dom) = dom.split_once("id=\"marked\"").unwrap();
        let (dom, _) = dom.split_once("</div>").unwrap();
        let (_, dom) = dom.split_once('>').unwrap();
        assert!(dom.contains(&marked_answer), "{dom}");
        let plain = dom.replace("<mark class=\"best\">", "").replace("<mark class=\"\">", "");
        assert_eq!(plain.replace("</mark>", ""), escaped(text));
    }
}

/// Clients send requests, disconnect early, or do not read responses. Each waiting client receives
/// the answer to its question exactly once.
#[test]
fn no_request_is_lost_when_clients_disconnect() {
    const CLIENTS: usize = 8;
    let requests = if testkit::is_long() { 100_000 } else { 2000 };
    let service = Service::start("");
    let (n_answered, n_retries) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let run_client = |client_number: usize, request_numbers: Range<usize>| {
        let client = service.client();
        for number in request_numbers.skip(client_number).step_by(CLIENTS) {
            let body = json!({
                "questions": [{"id": number, "question": format!("Who is number {number}?")}],
                "documents": [{"id": format!("d{number}"), "text": text_of_words(8 + number % 64)}],
            });
            let text = body.to_string();
            match number % 20 {
                // The client disconnects within its request, before the answer, after several
                // requests without reading an answer, or after an invalid request.
                7 => drop(service.send(request_start(text.len(), "{"))),
                11 => drop(service.send(request_start(text.len(), &text))),
                13 => drop(service.send(request_start(text.len(), &text).repeat(8))),
                17 => drop(service.send(b"\x16\x03\x01\0\xff GET / \r\n\r\n")),
                _ => loop {
                    let reply = client.post(&body);
                    if reply.status == 429 {
                        n_retries.fetch_add(1, Ordering::Relaxed);
                        thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    let results = reply.body["results"].as_array().unwrap();
                    assert_eq!(results.len(), 1);
                    assert_eq!(results[0]["id"], number.to_string());
                    assert_eq!(results[0]["answers"][0]["document"], format!("d{number}"));
                    n_answered.fetch_add(1, Ordering::Relaxed);
                    break;
                },
            }
        }
    };
    let mut memory = Vec::new();
    for half in [0..requests / 2, requests / 2..requests] {
        thread::scope(|scope| {
            for client_number in 0..CLIENTS {
                let (run_client, half) = (&run_client, half.clone());
                scope.spawn(move || run_client(client_number, half));
            }
        });
        let client = service.client();
        wait_until(|| client.health()["requests"] == 0 && client.health()["windows"] == 0);
        memory.push(service.memory_mib());
    }
    assert_eq!(n_answered.load(Ordering::Relaxed), requests / 20 * 16);
    eprintln!("{memory:?} MiB after each half; retries: {n_retries:?}");
    // A limited increase is accepted, because libtorch caches plans for each shape and the
    // tokenizer caches words. Both caches have a maximum size.
    let max_increase = if testkit::is_long() { memory[0] / 10 } else { 200 };
    assert!(memory[1] < memory[0] + max_increase, "{memory:?} MiB");
    service.signal("-TERM");
    assert_eq!(service.wait_for_exit_code(), Some(0));
}

#[test]
fn startup_errors_are_reported_in_one_line() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("serve --model model --port {port}");
    polyqa().expect_only_errors(&[
        (&line, &["cannot listen on", &port.to_string()]),
        ("serve --model nowhere", &["nowhere"]),
        ("serve --model model --max-windows 0", &["--max-windows must be 1 to"]),
        ("serve --model model --host here", &["--host"]),
    ]);
}

#[test]
fn a_retriever_selects_the_candidates_of_large_requests() {
    let encoder = crate::common::random_encoder();
    let options = format!("--max-windows 55 --retriever {}", encoder.path().display());
    let service = Service::start(&options);
    let rows: Vec<Value> = (0..60)
        .map(|k| json!({"id": k.to_string(), "text": format!("Town {k} is here.")}))
        .collect();
    let reply = service.client().post(&json!({"question": "Where is town 7?", "documents": rows}));
    assert_eq!(reply.status, 200, "{}", reply.body);
    // The model evaluates 50 documents, and the answers equal those of `polyqa answer`.
    let lines: String = rows.iter().map(|row| format!("{row}\n")).collect();
    service.program.write("rows.jsonl", lines);
    let line = format!(
        "answer --model model --retriever {} --documents rows.jsonl --json -q",
        encoder.path().display()
    );
    let output = testkit::run_command(service.program.command(&line).arg("Where is town 7?"));
    let expected: Value = serde_json::from_str(&output.out).unwrap();
    let spans = |answers: &Value| -> Vec<Value> {
        let answers = answers["answers"].as_array().unwrap();
        answers.iter().map(|one| json!([one["document"], one["start"], one["end"]])).collect()
    };
    assert_eq!(spans(&reply.body["results"][0]), spans(&expected));
    // All 50 documents are selected. Their windows exceed --max-windows, so the request is
    // rejected.
    let long_documents: Vec<String> = vec!["Town ".repeat(300); 50];
    let reply = service.client().post(&json!({"question": "Where?", "documents": long_documents}));
    assert_eq!(reply.status, 413, "{}", reply.body);
}

#[test]
fn truncated_questions_are_reported() {
    let service = Service::start("");
    let long = "word ".repeat(150) + "Where is Lima?";
    let body = json!({"questions": ["Where is Lima?", long], "text": "Lima is in Peru."});
    let reply = service.client().post(&body);
    assert_eq!(reply.status, 200);
    assert_eq!(reply.body["results"][0].get("truncated_question"), None);
    let truncated = &reply.body["results"][1]["truncated_question"];
    assert!(
        truncated["max_tokens"] == 64 && truncated["tokens"].as_u64() > Some(150),
        "{truncated}"
    );
}
