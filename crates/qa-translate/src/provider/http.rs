use std::collections::BTreeMap;
use std::time::Duration;

use mlqa_eval::Language;
use serde::{Deserialize, Serialize};
use ureq::Agent;
use ureq::http::{Response, Uri};

use crate::{Error, Translations, Translator};

/// Where a translation server is and how patient to be with it.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The server's address, as `http://localhost:5000`; requests go to `/translate` below it.
    pub url: String,
    /// Texts in a request.
    pub batch_size: usize,
    /// Seconds that one request may take, its answer included.
    pub timeout_seconds: f64,
    /// Requests for one batch before giving up, the first included.
    pub attempts: u32,
    /// Seconds before the second request; each later wait is twice as long.
    pub first_wait_seconds: f64,
    /// The longest wait, also where the server asks for a longer one by `Retry-After`.
    pub longest_wait_seconds: f64,
    /// Codes of languages that the server calls otherwise, as `{ zh = "zh-Hans" }`.
    pub codes: BTreeMap<Language, String>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:5000".into(),
            batch_size: 16,
            timeout_seconds: 120.0,
            attempts: 6,
            first_wait_seconds: 1.0,
            longest_wait_seconds: 60.0,
            codes: BTreeMap::new(),
        }
    }
}

impl HttpConfig {
    fn validate(&self) -> Result<(), Error> {
        let refuse = |key, value: String, rule| Err(Error::Config { key, value, rule });
        let url = self.url.parse::<Uri>().ok();
        match url.as_ref().and_then(Uri::scheme_str) {
            Some("http") => {}
            Some("https") if cfg!(feature = "https") => {}
            Some("https") => {
                let rule = "http://, or built with the feature `https`";
                return refuse("url", self.url.clone(), rule);
            }
            _ => return refuse("url", self.url.clone(), "an address as http://localhost:5000"),
        }
        for (key, none) in [("batch_size", self.batch_size == 0), ("attempts", self.attempts == 0)]
        {
            if none {
                return refuse(key, "0".into(), "at least 1");
            }
        }
        for (key, value, may_be_zero) in [
            ("timeout_seconds", self.timeout_seconds, false),
            ("first_wait_seconds", self.first_wait_seconds, true),
            ("longest_wait_seconds", self.longest_wait_seconds, true),
        ] {
            // A day is beyond any use and well within what `Duration` holds.
            if !(0.0..=86_400.0).contains(&value) || (value == 0.0 && !may_be_zero) {
                return refuse(key, value.to_string(), "seconds up to 86400, a time-out above 0");
            }
        }
        Ok(())
    }
}

/// A LibreTranslate-compatible server: `POST /translate` with `q` (several texts), `source`,
/// `target`, `format` and, if there is one, `api_key`; the answer's `translatedText` has as many
/// texts.
///
/// Connection errors, time-outs, answers that end early, 429 and 5xx are tried again after growing
/// waits; anything else is an error at once, as is a redirection. `http_proxy` and its like are
/// used.
pub struct HttpTranslator {
    config: HttpConfig,
    address: String,
    api_key: Option<String>,
    agent: Agent,
}

#[derive(Serialize)]
struct Request<'a> {
    q: &'a [&'a str],
    source: &'a str,
    target: &'a str,
    format: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    translated_text: Vec<String>,
}

/// What one request came to.
enum Outcome {
    Texts(Vec<String>),
    /// Worth another try, perhaps after the wait that the server asks for.
    Again(String, Option<Duration>),
    Refused(String),
}

impl HttpTranslator {
    /// A translator that has not called its server yet.
    ///
    /// # Errors
    /// [`Error::Config`] naming the key.
    pub fn new(config: HttpConfig, api_key: Option<String>) -> Result<Self, Error> {
        config.validate()?;
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        let address = format!("{}/translate", config.url.trim_end_matches('/'));
        Ok(Self { config, address, api_key, agent: agent.into() })
    }

    fn code<'a>(&'a self, language: &'a Language) -> &'a str {
        self.config.codes.get(language).map_or_else(|| language.as_str(), String::as_str)
    }

    fn batch(&self, texts: &[&str], from: Language, to: Language) -> Result<Vec<String>, Error> {
        let request = Request {
            q: texts,
            source: self.code(&from),
            target: self.code(&to),
            format: "text",
            api_key: self.api_key.as_deref(),
        };
        let error =
            |problem, attempts| Error::Server { url: self.address.clone(), problem, attempts };
        let body = serde_json::to_vec(&request).map_err(|cause| error(cause.to_string(), 0))?;
        let longest = Duration::from_secs_f64(self.config.longest_wait_seconds);
        let mut wait = Duration::from_secs_f64(self.config.first_wait_seconds).min(longest);
        let mut attempt = 1;
        loop {
            match self.send(&body, texts.len()) {
                Outcome::Texts(texts) => return Ok(texts),
                Outcome::Again(_, requested_wait) if attempt < self.config.attempts => {
                    std::thread::sleep(requested_wait.unwrap_or(wait).min(longest));
                    wait = wait.saturating_mul(2).min(longest);
                    attempt += 1;
                }
                Outcome::Again(problem, _) | Outcome::Refused(problem) => {
                    return Err(error(problem, attempt));
                }
            }
        }
    }

    fn send(&self, body: &[u8], expected: usize) -> Outcome {
        let call = self.agent.post(&self.address).header("content-type", "application/json");
        let mut response = match call.send(body) {
            Ok(response) => response,
            Err(error) if lasting(&error) => return Outcome::Refused(error.to_string()),
            Err(error) => return Outcome::Again(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let requested_wait = retry_after(&response);
        let limit = response.body_mut().with_config().limit(LARGEST_REPLY);
        let text = match limit.read_to_string() {
            Ok(text) => text,
            Err(error) => return Outcome::Again(format!("reading the answer: {error}"), None),
        };
        if status != 200 {
            let problem = format!("status {status}: {}", message(&text));
            return match status {
                429 | 500..=599 => Outcome::Again(problem, requested_wait),
                _ => Outcome::Refused(problem),
            };
        }
        match serde_json::from_str::<Reply>(&text) {
            Ok(reply) if reply.translated_text.len() == expected => {
                Outcome::Texts(reply.translated_text)
            }
            Ok(reply) => {
                let got = reply.translated_text.len();
                Outcome::Refused(format!("{got} texts in the answer to {expected}"))
            }
            // Cut off on its way, or empty.
            Err(error) if error.is_eof() => {
                Outcome::Again(format!("the answer ends early: {:?}", cut(&text)), None)
            }
            Err(error) => Outcome::Refused(format!(
                "expected {{\"translatedText\": [\"…\"]}}, got {:?} ({error})",
                cut(&text)
            )),
        }
    }
}

/// Bytes of an answer that are read at most.
const LARGEST_REPLY: u64 = 64 << 20;

/// Whether trying again cannot help.
fn lasting(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_)
    )
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// The message of an error's body: its `error` if it is LibreTranslate's JSON.
fn message(text: &str) -> String {
    #[derive(Deserialize)]
    struct Fault {
        error: String,
    }
    match serde_json::from_str::<Fault>(text) {
        Ok(fault) => cut(&fault.error),
        Err(_) => cut(text),
    }
}

/// One line of at most 200 code points.
fn cut(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("no text");
    line.chars().take(200).collect()
}

impl Translator for HttpTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut all = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.config.batch_size) {
            all.extend(self.batch(batch, from, to)?.into_iter().map(Some));
        }
        Ok(all)
    }

    fn batch_size(&self) -> usize {
        self.config.batch_size
    }
}
