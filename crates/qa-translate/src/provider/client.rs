//! HTTP requests with retries.
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Response, Uri};

use crate::Error;

/// Timeouts and retries.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryPolicy {
    pub(super) timeout_seconds: f64,
    pub(super) attempts: u32,
    pub(super) first_wait_seconds: f64,
    pub(super) longest_wait_seconds: f64,
}

/// Rejects invalid addresses and values.
pub(super) fn validate(url: &str, retry_policy: RetryPolicy) -> Result<(), Error> {
    let config_error = |key, value: String, rule| Err(Error::Config { key, value, rule });
    let parsed = url.parse::<Uri>().ok();
    match parsed.as_ref().and_then(Uri::scheme_str) {
        Some("http") => {}
        Some("https") if cfg!(feature = "https") => {}
        Some("https") => {
            return config_error(
                "url",
                url.to_owned(),
                "an http:// address (https:// needs the feature `https`)",
            );
        }
        _ => {
            return config_error("url", url.to_owned(), "an address such as http://localhost:5000");
        }
    }
    if retry_policy.attempts == 0 {
        return config_error("attempts", "0".into(), "at least 1");
    }
    for (key, value, may_be_zero) in [
        ("timeout_seconds", retry_policy.timeout_seconds, false),
        ("first_wait_seconds", retry_policy.first_wait_seconds, true),
        ("longest_wait_seconds", retry_policy.longest_wait_seconds, true),
    ] {
        // A day is more than enough and within the range of `Duration`.
        if !(0.0..=86_400.0).contains(&value) || (value == 0.0 && !may_be_zero) {
            return config_error(
                key,
                value.to_string(),
                "from 0 to 86400 seconds, and a timeout above 0",
            );
        }
    }
    Ok(())
}

/// Outcome of one request.
pub(super) enum Outcome<T> {
    Success(T),
    /// A failure that may be temporary, with the wait that the server requests, if any.
    Retry(String, Option<Duration>),
    /// A permanent failure.
    Failure(String),
}

/// A client that sends JSON to one address.
///
/// Connection errors, timeouts, incomplete responses, 429 and 5xx are retried with increasing
/// waits; any other error and redirections fail immediately.
pub(super) struct JsonClient {
    pub(super) address: String,
    retry_policy: RetryPolicy,
    authorization: Option<String>,
    agent: Agent,
}

impl JsonClient {
    /// Creates a client for `path` below `url`. The arguments must satisfy [`validate`].
    pub(super) fn new(
        url: &str,
        path: &str,
        authorization: Option<String>,
        retry_policy: RetryPolicy,
    ) -> Self {
        let agent = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs_f64(retry_policy.timeout_seconds)))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .build();
        let address = format!("{}{path}", url.trim_end_matches('/'));
        Self { address, retry_policy, authorization, agent: agent.into() }
    }

    /// Sends `body` until a response succeeds, and returns the result of `read`.
    pub(super) fn call<T>(
        &self,
        body: &[u8],
        read: impl Fn(&str) -> Outcome<T>,
    ) -> Result<T, Error> {
        let max_wait = Duration::from_secs_f64(self.retry_policy.longest_wait_seconds);
        let mut wait = Duration::from_secs_f64(self.retry_policy.first_wait_seconds).min(max_wait);
        let mut attempt = 1;
        loop {
            match self.send(body, &read) {
                Outcome::Success(answer) => return Ok(answer),
                Outcome::Retry(_, requested_wait) if attempt < self.retry_policy.attempts => {
                    std::thread::sleep(requested_wait.unwrap_or(wait).min(max_wait));
                    wait = wait.saturating_mul(2).min(max_wait);
                    attempt += 1;
                }
                Outcome::Retry(problem, _) | Outcome::Failure(problem) => {
                    let url = self.address.clone();
                    return Err(Error::Server { url, problem, attempts: attempt });
                }
            }
        }
    }

    fn send<T>(&self, body: &[u8], read: impl Fn(&str) -> Outcome<T>) -> Outcome<T> {
        let mut request = self.agent.post(&self.address).header("content-type", "application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let mut response = match request.send(body) {
            Ok(response) => response,
            Err(error) if is_permanent(&error) => return Outcome::Failure(error.to_string()),
            Err(error) => return Outcome::Retry(error.to_string(), None),
        };
        let status = response.status().as_u16();
        let requested_wait = retry_after(&response);
        let limit = response.body_mut().with_config().limit(MAX_RESPONSE_BYTES);
        let text = match limit.read_to_string() {
            Ok(text) => text,
            Err(error) => return Outcome::Retry(format!("reading the response: {error}"), None),
        };
        if status != 200 {
            let problem = format!("status {status}: {}", message(&text));
            return match status {
                429 | 500..=599 => Outcome::Retry(problem, requested_wait),
                _ => Outcome::Failure(problem),
            };
        }
        read(&text)
    }
}

/// Parses a JSON response; `expected` describes its format for errors.
pub(super) fn parse<T: for<'de> Deserialize<'de>>(text: &str, expected: &str) -> Outcome<T> {
    match serde_json::from_str(text) {
        Ok(response) => Outcome::Success(response),
        // The response is truncated or empty.
        Err(error) if error.is_eof() => {
            Outcome::Retry(format!("the response is truncated: {:?}", first_line(text)), None)
        }
        Err(error) => {
            Outcome::Failure(format!("expected {expected}, got {:?} ({error})", first_line(text)))
        }
    }
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

fn retry_after<B>(response: &Response<B>) -> Option<Duration> {
    let value = response.headers().get("retry-after")?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

/// Returns the message in an error response: `error` in LibreTranslate's JSON, or the message
/// inside `error` in OpenAI's.
fn message(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    let error = &body["error"];
    match error.as_str().or_else(|| error["message"].as_str()) {
        Some(message) => first_line(message),
        None => first_line(text),
    }
}

/// Returns the first line, truncated to 200 code points.
fn first_line(text: &str) -> String {
    let line = text.trim().lines().next().unwrap_or("no text");
    line.chars().take(200).collect()
}
