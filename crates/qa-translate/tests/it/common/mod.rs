//! Data and a translation server for the tests.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mlqa_eval::{Answer, Dataset, Language, Question};
use qa_translate::{ServerConfig, Translations, Translator};
use serde_json::{Value, json};

pub const DE: Language = Language::DE;
pub const EN: Language = Language::EN;
pub const ES: Language = Language::ES;
pub const ZH: Language = Language::ZH;

/// Creates a question whose answer is the first occurrence of `answer`.
pub fn question(id: &str, question: &str, context: &str, answer: &str) -> Question {
    let byte = context.find(answer).unwrap();
    let answer_start = context[..byte].chars().count();
    Question {
        id: id.into(),
        question: question.into(),
        context: context.into(),
        answers: vec![Answer::at(answer_start, answer)],
        title: "t".into(),
    }
}

pub fn dataset(questions: Vec<Question>) -> Dataset {
    Dataset { path: "test.json".into(), version: Some("1.1".into()), questions }
}

/// A translator that calls a function. `None` means no translation.
pub struct FunctionTranslator<F>(pub F);

impl<F: FnMut(&str) -> Option<String>> Translator for FunctionTranslator<F> {
    fn translate(&mut self, texts: &[&str], _: Language, _: Language) -> Translations {
        Ok(texts.iter().map(|text| (self.0)(text)).collect())
    }

    fn batch_size(&self) -> usize {
        2
    }
}

/// The server's response to a request.
pub enum Reply {
    /// Responds with status and body.
    Status(u16, String),
    /// Responds with status, body and a `Retry-After` in seconds.
    RetryAfter(u16, String, u32),
    /// Closes the connection without a response.
    HangUp,
    /// Waits for this duration without a response.
    Stall(Duration),
}

/// Returns a reply with every text in upper case, in LibreTranslate's format.
pub fn upper_case(request: &Value) -> Reply {
    let texts = request["q"].as_array().unwrap();
    let upper: Vec<String> = texts.iter().map(|t| t.as_str().unwrap().to_uppercase()).collect();
    Reply::Status(200, json!({ "translatedText": upper }).to_string())
}

/// Returns a chat response with the last message in upper case.
pub fn upper_case_chat(request: &Value) -> Reply {
    let messages = request["messages"].as_array().unwrap();
    let text = messages.last().unwrap()["content"].as_str().unwrap();
    let message = json!({"role": "assistant", "content": format!("{}\n", text.to_uppercase())});
    Reply::Status(200, json!({"choices": [{"index": 0, "message": message}]}).to_string())
}

/// Returns a chat response with a message and a finish reason.
pub fn chat_reply(content: &str, finish_reason: &str) -> Reply {
    let message = json!({"role": "assistant", "content": content});
    let choice = json!({"index": 0, "message": message, "finish_reason": finish_reason});
    Reply::Status(200, json!({"choices": [choice]}).to_string())
}

/// A server on a free port that runs until the end of the test.
pub struct Server {
    pub url: String,
    pub requests: Arc<Mutex<Vec<(String, Value)>>>,
    /// The header section of each request, in lower case.
    pub headers: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Starts a server; `reply` receives the index of the request and its body.
    pub fn start(reply: impl Fn(usize, &Value) -> Reply + Send + 'static) -> Self {
        Self::with_settings(None, reply)
    }

    /// Starts a server that returns `settings` for `GET` requests, which are not logged.
    pub fn with_settings(
        settings: Option<Value>,
        reply: impl Fn(usize, &Value) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&requests);
        let headers = Arc::new(Mutex::new(Vec::new()));
        let header_log = Arc::clone(&headers);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some((head, line, body)) = read_request(&mut stream) else { continue };
                if line.starts_with("GET ") {
                    let status = if settings.is_some() { 200 } else { 404 };
                    let text = settings.as_ref().map(Value::to_string).unwrap_or_default();
                    respond(&mut stream, status, &text, "");
                    continue;
                }
                header_log.lock().unwrap().push(head);
                let number = {
                    let mut log = log.lock().unwrap();
                    log.push((line, body.clone()));
                    log.len() - 1
                };
                let (status, text, header) = match reply(number, &body) {
                    Reply::Status(status, text) => (status, text, String::new()),
                    Reply::RetryAfter(status, text, seconds) => {
                        (status, text, format!("retry-after: {seconds}\r\n"))
                    }
                    Reply::HangUp => continue,
                    Reply::Stall(time) => {
                        std::thread::sleep(time);
                        continue;
                    }
                };
                respond(&mut stream, status, &text, &header);
            }
        });
        Self { url, requests, headers }
    }

    /// Returns a configuration with the server's address, short waits and three attempts.
    pub fn config(&self) -> ServerConfig {
        ServerConfig {
            url: self.url.clone(),
            timeout_seconds: 10.0,
            attempts: 3,
            first_wait_seconds: 0.01,
            longest_wait_seconds: 0.05,
        }
    }

    /// Returns the target language and the text of all requested translations.
    pub fn requested_texts(&self) -> Vec<(String, String)> {
        let requests = self.requests.lock().unwrap();
        let text = |text: &Value| text.as_str().unwrap().to_owned();
        let texts = requests.iter().flat_map(|(_, body)| {
            body["q"].as_array().unwrap().iter().map(move |q| (text(&body["target"]), text(q)))
        });
        texts.collect()
    }

    /// Returns the number of received requests.
    pub fn request_count(&self) -> usize {
        self.requests.lock().unwrap().len()
    }
}

fn respond(stream: &mut TcpStream, status: u16, text: &str, header: &str) {
    let length = text.len();
    let answer = format!(
        "HTTP/1.1 {status} -\r\n{header}content-length: {length}\r\nconnection: \
         close\r\n\r\n{text}"
    );
    let _ = stream.write_all(answer.as_bytes());
}

/// Reads the headers, the request line and the JSON body.
fn read_request(stream: &mut TcpStream) -> Option<(String, String, Value)> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lowercase_head = head.to_lowercase();
        if lowercase_head.starts_with("get ") {
            return Some((lowercase_head, head.lines().next().unwrap().to_owned(), Value::Null));
        }
        let length = lowercase_head.split("content-length: ").nth(1).unwrap();
        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
        if body.len() >= length {
            let line = head.lines().next().unwrap().to_owned();
            return Some((lowercase_head, line, serde_json::from_str(body).unwrap()));
        }
    }
}
