//! A model that is asked in messages, as OpenAI's interface has it (llama.cpp, vLLM, Ollama).
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use super::caller::{Caller, Outcome, Patience, parse, validate};
use super::journal::Journal;
use crate::{Error, Translations, Translator};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChatRequest {
    /// The model's name at the server.
    pub model: String,
    /// In order.
    pub messages: Vec<ChatMessage>,
}

/// A message and who says it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

/// Anything that answers messages.
pub trait Chat {
    /// The answer.
    ///
    /// # Errors
    /// If there is none.
    fn ask(&mut self, request: &ChatRequest) -> Result<String, Error>;
}

/// Where a server is, and how much it may be asked.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// The server's address, as `http://localhost:8080`; requests go to `/v1/chat/completions`
    /// below it.
    pub url: String,
    /// Seconds that one request may take, its answer included.
    pub timeout_seconds: f64,
    /// Requests for one answer before giving up, the first included.
    pub attempts: u32,
    /// Seconds before the second request; each later wait is twice as long.
    pub first_wait_seconds: f64,
    /// The longest wait, also where the server asks for a longer one by `Retry-After`.
    pub longest_wait_seconds: f64,
    /// Requests in a minute, evenly apart; 0: as fast as the server answers.
    pub requests_per_minute: f64,
    /// Answers that are asked for before the run ends; 0: any number.
    pub most_requests: u64,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:8080".into(),
            timeout_seconds: 300.0,
            attempts: 6,
            first_wait_seconds: 1.0,
            longest_wait_seconds: 60.0,
            requests_per_minute: 0.0,
            most_requests: 0,
        }
    }
}

/// A server that answers `POST /v1/chat/completions` with `model`, `messages` and a temperature of
/// 0, tried again as [`HttpTranslator`](crate::HttpTranslator) tries.
pub struct HttpChat {
    caller: Caller,
    apart: Duration,
    last: Option<Instant>,
    left: Option<u64>,
}

#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: ReplyMessage,
}

#[derive(Deserialize)]
struct ReplyMessage {
    content: String,
}

impl HttpChat {
    /// A client that has not called its server yet. The key goes with each request, and nowhere
    /// else.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key of the configuration.
    pub fn new(config: &ChatConfig, api_key: Option<&str>) -> Result<Self, Error> {
        let patience = Patience {
            timeout_seconds: config.timeout_seconds,
            attempts: config.attempts,
            first_wait_seconds: config.first_wait_seconds,
            longest_wait_seconds: config.longest_wait_seconds,
        };
        validate(&config.url, patience)?;
        let rate = config.requests_per_minute;
        if !(rate == 0.0 || (0.01..=1e6).contains(&rate)) {
            let (value, rule) = (rate.to_string(), "0, or from 0.01 to 1000000");
            return Err(Error::Config { key: "requests_per_minute", value, rule });
        }
        let apart = if rate > 0.0 { Duration::from_secs_f64(60.0 / rate) } else { Duration::ZERO };
        let authorization = api_key.map(|key| format!("Bearer {key}"));
        Ok(Self {
            caller: Caller::new(&config.url, "/v1/chat/completions", authorization, patience),
            apart,
            last: None,
            left: (config.most_requests > 0).then_some(config.most_requests),
        })
    }
}

impl std::fmt::Debug for HttpChat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the key.
        f.debug_struct("HttpChat").field("address", &self.caller.address).finish_non_exhaustive()
    }
}

impl Chat for HttpChat {
    fn ask(&mut self, request: &ChatRequest) -> Result<String, Error> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(1).ok_or(Error::Budget)?;
        }
        if let Some(last) = self.last {
            std::thread::sleep(self.apart.saturating_sub(last.elapsed()));
        }
        self.last = Some(Instant::now());
        let ChatRequest { model, messages } = request;
        let body =
            serde_json::json!({"model": model, "messages": messages, "temperature": 0}).to_string();
        self.caller.call(body.as_bytes(), |text| {
            let expected = "{\"choices\": [{\"message\": {\"content\": \"…\"}}]}";
            match parse::<Reply>(text, expected) {
                Outcome::Answer(reply) => match reply.choices.into_iter().next() {
                    Some(choice) => Outcome::Answer(choice.message.content),
                    None => Outcome::Refused("an answer without a choice".into()),
                },
                Outcome::Again(problem, wait) => Outcome::Again(problem, wait),
                Outcome::Refused(problem) => Outcome::Refused(problem),
            }
        })
    }
}

/// Another one that is asked each request only once: answers are appended to a JSONL file, one
/// `{"request": {"model": "…", "messages": […]}, "answer": "…"}` a line, and synced, so that work
/// that was killed goes on where it stopped. Without another one, the file alone answers.
#[derive(Debug)]
pub struct RecordedChat<C> {
    inner: Option<C>,
    path: PathBuf,
    journal: Journal,
    answers: HashMap<ChatRequest, String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Line {
    request: ChatRequest,
    answer: String,
}

impl<C: Chat> RecordedChat<C> {
    /// Opens the file at `path`, or begins one.
    ///
    /// # Errors
    /// [`Error::Io`], also where another program has the file open; [`Error::Recorded`] for the
    /// first line that is no answer.
    pub fn open(inner: Option<C>, path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut answers = HashMap::new();
        let journal = Journal::open(path, b"{\"request\":{", |line, number| {
            let line: Line = serde_json::from_slice(line).map_err(|error| Error::Recorded {
                path: path.to_owned(),
                line: number,
                got: error.to_string(),
            })?;
            // Asked for at once by two runs of other files: the first stays.
            answers.entry(line.request).or_insert(line.answer);
            Ok(())
        })?;
        Ok(Self { inner, path: path.to_owned(), journal, answers })
    }
}

impl<C: Chat> Chat for RecordedChat<C> {
    fn ask(&mut self, request: &ChatRequest) -> Result<String, Error> {
        if let Some(answer) = self.answers.get(request) {
            return Ok(answer.clone());
        }
        let Some(inner) = &mut self.inner else {
            let last = request.messages.last().map_or("", |message| &message.content);
            let text = last.chars().take(80).collect();
            return Err(Error::Unanswered { path: self.path.clone(), text });
        };
        let answer = inner.ask(request)?;
        let line = Line { request: request.clone(), answer: answer.clone() };
        self.journal.add(&[&line])?;
        self.answers.insert(line.request, line.answer);
        Ok(answer)
    }
}

/// A chat that translates, one text a request.
#[derive(Clone, Debug)]
pub struct ChatTranslator<C> {
    /// Who answers.
    pub chat: C,
    /// The model's name at the server.
    pub model: String,
}

impl<C: Chat> Translator for ChatTranslator<C> {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let rule = format!(
            "Translate what the user writes from the language with the code \"{from}\" to that \
             with the code \"{to}\". Answer with the translation alone. Keep code, markup, \
             placeholders, brackets and marks such as ⟦0⟧ exactly as they are."
        );
        let message =
            |role: &str, content: &str| ChatMessage { role: role.into(), content: content.into() };
        let mut ask = |&text: &&str| {
            let messages = vec![message("system", &rule), message("user", text)];
            let answer = self.chat.ask(&ChatRequest { model: self.model.clone(), messages })?;
            // Models end an answer with a line or two that nobody asked for.
            let trimmed = if text.trim() == text { answer.trim() } else { &answer };
            Ok(Some(trimmed.to_owned()))
        };
        texts.iter().map(&mut ask).collect()
    }

    fn batch_size(&self) -> usize {
        1
    }
}
