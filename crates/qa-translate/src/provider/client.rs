//! HTTP requests with retries.
use std::cell::Cell;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, Uri};

use super::report::{Rejected, Rejection};
use crate::Error;

/// Address, time limit and retries of a translation server.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerConfig {
    /// The server's address, such as `http://localhost:5000`; requests are sent to a path below it.
    pub url: String,
    /// Time limit of one request in seconds, including its response.
    pub timeout_seconds: f64,
    /// Maximum number of attempts per request.
    pub attempts: u32,
    /// Seconds before the second attempt; each later wait is twice as long as the previous one.
    pub first_wait_seconds: f64,
    /// Maximum wait in seconds, even if the server's `Retry-After` is longer.
    pub longest_wait_seconds: f64,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:5000".into(),
            timeout_seconds: 120.0,
            // The waits add up to 123 seconds, longer than a limit of requests per minute.
            attempts: 8,
            first_wait_seconds: 1.0,
            longest_wait_seconds: 60.0,
        }
    }
}

impl ServerConfig {
    /// Rejects invalid addresses and values.
    fn validate(&self) -> Result<(), Error> {
        let config_error = |key, value: String, rule| Err(Error::Config { key, value, rule });
        let uri = self.url.parse::<Uri>().ok();
        let url_rule = match uri.as_ref().and_then(Uri::scheme_str) {
            Some("http") => None,
            Some("https") if cfg!(feature = "https") => None,
            Some("https") => Some("an http:// address (https:// needs the feature `https`)"),
            _ => Some("an address such as http://localhost:5000"),
        };
        if let Some(rule) = url_rule {
            return config_error("url", self.url.clone(), rule);
        }
        if self.attempts == 0 {
            return config_error("attempts", "0".into(), "at least 1");
        }
        for (key, value, may_be_zero) in [
            ("timeout_seconds", self.timeout_seconds, false),
            ("first_wait_seconds", self.first_wait_seconds, true),
            ("longest_wait_seconds", self.longest_wait_seconds, true),
        ] {
            // Values of at most one day can be converted to `Duration`.
            if !(0.0..=86_400.0).contains(&value) || (value == 0.0 && !may_be_zero) {
                let rule = "from 0 to 86400 seconds, and a timeout above 0";
                return config_error(key, value.to_string(), rule);
            }
        }
        Ok(())
    }
}

/// A failed request.
pub(super) enum Failure {
    /// A failure that may be temporary, with the wait that the server requests, or `None`.
    Temporary(String, Option<Duration>),
    /// Status 500, which is temporary, or the server cannot translate one of the texts.
    Internal(String, Option<Duration>),
    /// A failure that a retry cannot resolve.
    Permanent(String),
    /// The server does not accept the texts, for example because they are too long.
    Rejected(String),
}

/// Reason why a request has no result.
pub(super) enum RequestError {
    /// The server does not accept the texts of the request, or its reply is not a translation.
    Rejected(Rejected),
    /// The server could not be reached or returned an unexpected response.
    Failed(Error),
}

/// A client that sends JSON to one address.
///
/// Connection errors, timeouts, incomplete responses and the status codes 408, 425, 429 and 5xx are
/// retried with increasing waits. Other errors and redirections are not retried. The status codes
/// 400, 413, 422 and 451, and 403 with a message about moderation, reject the request's texts. So
/// does status 500 in all attempts, if `rejects_internal_errors` is set and the server has translated
/// other texts: some servers return it for a text that they cannot translate. A response with an `error` instead of a result counts
/// as a response with the error's status.
pub(super) struct JsonClient {
    address: String,
    config: ServerConfig,
    authorization: Option<String>,
    agent: Agent,
    /// Whether status 500 in all attempts may reject a request's texts instead of ending the run.
    pub(super) rejects_internal_errors: bool,
    /// Number of further requests that may be rejected with status 500 before a request succeeds.
    internal_errors_left: Cell<usize>,
}

/// Maximum number of consecutive requests with status 500 that reject their texts. A text in a batch
/// fails once for each halving of the batch.
const MAX_INTERNAL_ERRORS: usize = 8;

impl JsonClient {
    /// Creates a client for a path below the server's address.
    pub(super) fn new(
        config: ServerConfig,
        path: &str,
        authorization: Option<String>,
    ) -> Result<Self, Error> {
        config.validate()?;
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(config.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        let address = format!("{}{path}", config.url.trim_end_matches('/'));
        let internal_errors_left = Cell::new(0);
        Ok(Self {
            address,
            config,
            authorization,
            agent: agent.into(),
            rejects_internal_errors: false,
            internal_errors_left,
        })
    }

    /// Sends `body`, with retries, and returns the result of `read` for the response.
    pub(super) fn send_with_retries<T>(
        &self,
        body: &Value,
        read: impl Fn(&str) -> Result<T, Failure>,
    ) -> Result<T, RequestError> {
        let body = body.to_string();
        let max_wait = Duration::from_secs_f64(self.config.longest_wait_seconds);
        let mut wait = Duration::from_secs_f64(self.config.first_wait_seconds).min(max_wait);
        let mut attempt = 1;
        loop {
            let failure = match self.send_once(body.as_bytes()).and_then(|text| read(&text)) {
                Ok(answer) => {
                    self.internal_errors_left.set(MAX_INTERNAL_ERRORS);
                    return Ok(answer);
                }
                Err(failure) => failure,
            };
            let (problem, is_rejected) = match failure {
                Failure::Temporary(_, requested_wait) | Failure::Internal(_, requested_wait)
                    if attempt < self.config.attempts =>
                {
                    std::thread::sleep(requested_wait.unwrap_or(wait).min(max_wait));
                    wait = wait.saturating_mul(2).min(max_wait);
                    attempt += 1;
                    continue;
                }
                Failure::Internal(problem, _) => {
                    let left = self.internal_errors_left.get();
                    self.internal_errors_left.set(left.saturating_sub(1));
                    (problem, self.rejects_internal_errors && left > 0)
                }
                Failure::Rejected(problem) => (problem, true),
                Failure::Temporary(problem, _) | Failure::Permanent(problem) => (problem, false),
            };
            if is_rejected {
                let reason = Rejection::Status;
                return Err(RequestError::Rejected(Rejected { reason, detail: problem }));
            }
            let url = self.address.clone();
            return Err(RequestError::Failed(Error::Server { url, problem, attempts: attempt }));
        }
    }

    /// Returns the JSON at another path of the server; `None` if it cannot be read.
    pub(super) fn get(&self, path: &str) -> Option<Value> {
        let url = format!("{}{path}", self.config.url.trim_end_matches('/'));
        let mut response = self.agent.get(&url).call().ok()?;
        if response.status().as_u16() != 200 {
            return None;
        }
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        serde_json::from_str(&body.read_to_string().ok()?).ok()
    }

    /// Creates the error for a request that was answered in the first attempt.
    pub(super) fn error(&self, problem: String) -> Error {
        Error::Server { url: self.address.clone(), problem, attempts: 1 }
    }

    /// Returns the address without user name and password.
    pub(super) fn public_address(&self) -> String {
        match self.address.split_once("://") {
            Some((scheme, rest)) => {
                let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
                format!("{scheme}://{host}/{path}")
            }
            None => self.address.clone(),
        }
    }

    /// Sends a request, and returns the text of a successful response.
    fn send_once(&self, body: &[u8]) -> Result<String, Failure> {
        let mut request = self.agent.post(&self.address).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = request.send(body).map_err(|error| match is_permanent(&error) {
            true => Failure::Permanent(error.to_string()),
            false => Failure::Temporary(error.to_string(), None),
        })?;
        let status = response.status().as_u16();
        let requested_wait = retry_after(&response);
        let body = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        let text = body
            .read_to_string()
            .map_err(|error| Failure::Temporary(format!("reading the response: {error}"), None))?;
        match (status, reported_error(&text)) {
            (200, None) => Ok(text),
            (200, Some((status, message))) => Err(match status {
                Some(status) => failure(status, &message, requested_wait),
                None => Failure::Rejected(format!("error in the response: {message}")),
            }),
            _ => Err(failure(status, &error_message(&text), requested_wait)),
        }
    }
}

/// Parses a JSON response; `expected` describes its format for errors.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(
    text: &str,
    expected: &str,
) -> Result<T, Failure> {
    serde_json::from_str(text).map_err(|error| match error.is_eof() {
        // The response is truncated or empty.
        true => {
            Failure::Temporary(format!("the response is truncated: {:?}", first_line(text)), None)
        }
        false => {
            Failure::Permanent(format!("expected {expected}, got {:?} ({error})", first_line(text)))
        }
    })
}

/// Maximum size of a response in bytes.
const MAX_RESPONSE_BYTES: u64 = 64 << 20;

/// Returns whether a retry cannot succeed.
fn is_permanent(error: &ureq::Error) -> bool {
    matches!(
        error,
        ureq::Error::BadUri(_) | ureq::Error::Http(_) | ureq::Error::RequireHttpsOnly(_)
    )
}

/// Returns the failure for a status other than 200.
fn failure(status: u16, message: &str, requested_wait: Option<Duration>) -> Failure {
    let problem = format!("status {status}: {message}");
    match status {
        400 | 413 | 422 | 451 => Failure::Rejected(problem),
        403 if is_about_moderation(message) => Failure::Rejected(problem),
        408 | 425 | 429 | 501..=599 => Failure::Temporary(problem, requested_wait),
        500 => Failure::Internal(problem, requested_wait),
        _ => Failure::Permanent(problem),
    }
}

/// Returns whether the message of status 403 is about the text instead of the key.
fn is_about_moderation(message: &str) -> bool {
    let message = message.to_lowercase();
    [
        "moderation",
        "flagged",
        "content policy",
        "content_policy",
        "content filter",
        "content_filter",
    ]
    .iter()
    .any(|phrase| message.contains(phrase))
}

/// Returns the status, if it is known, and the message of a response that has an `error` and no
/// result. Routers to several servers send such responses with status 200.
fn reported_error(text: &str) -> Option<(Option<u16>, String)> {
    let Value::Object(body) = serde_json::from_str(text).ok()? else { return None };
    let has = |key: &str| body.get(key).is_some_and(|value| !value.is_null());
    if !has("error") || has("choices") || has("translatedText") {
        return None;
    }
    let code = &body["error"]["code"];
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok());
    let status = number.and_then(|number| u16::try_from(number).ok());
    Some((status.filter(|status| (400..600).contains(status)), error_message(text)))
}

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the message in an error response: `error` in LibreTranslate's JSON, or the message
/// inside `error` in OpenAI's JSON.
fn error_message(text: &str) -> String {
    // A response that is not JSON is shown as text.
    let body: Value = serde_json::from_str(text).unwrap_or(Value::Null);
    let error = &body["error"];
    match error.as_str().or_else(|| error["message"].as_str()) {
        Some(message) => first_line(message),
        None => first_line(text),
    }
}

/// Returns the first line, truncated to 200 code points.
pub(super) fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("no text");
    line.chars().take(200).collect()
}
