//! Translation by a LibreTranslate-compatible server.
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use super::client::{JsonClient, Outcome, RetryPolicy, parse};
use crate::{Error, Translations, Translator};

/// Options for [`HttpTranslator`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// The server's address, such as `http://localhost:5000`; requests go to `/translate` below it.
    pub url: String,
    /// Number of texts per request.
    pub batch_size: usize,
    /// Time limit of one request in seconds, including its response.
    pub timeout_seconds: f64,
    /// Maximum number of requests per batch.
    pub attempts: u32,
    /// Seconds before the second request; each later wait is twice as long.
    pub first_wait_seconds: f64,
    /// Maximum wait in seconds, also for a longer `Retry-After`.
    pub longest_wait_seconds: f64,
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
        }
    }
}

impl HttpConfig {
    fn validate(&self) -> Result<(), Error> {
        super::client::validate(&self.url, self.retry_policy())?;
        if self.batch_size == 0 {
            let (value, rule) = ("0".into(), "at least 1");
            return Err(Error::Config { key: "batch_size", value, rule });
        }
        Ok(())
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy {
            timeout_seconds: self.timeout_seconds,
            attempts: self.attempts,
            first_wait_seconds: self.first_wait_seconds,
            longest_wait_seconds: self.longest_wait_seconds,
        }
    }
}

/// A translator that uses a LibreTranslate-compatible server.
///
/// It sends `POST /translate` with `q` (several texts), `source`, `target`, `format` and, if there
/// is one, `api_key`. `translatedText` of the response must have the same number of texts.
///
/// Connection errors, timeouts, incomplete responses, 429 and 5xx are retried with increasing
/// waits; any other error and redirections fail immediately. Proxy variables such as `http_proxy`
/// are honoured.
pub struct HttpTranslator {
    config: HttpConfig,
    client: JsonClient,
    api_key: Option<String>,
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

impl HttpTranslator {
    /// Creates a translator, without a request to the server.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of an invalid value.
    pub fn new(config: HttpConfig, api_key: Option<String>) -> Result<Self, Error> {
        config.validate()?;
        let client = JsonClient::new(&config.url, "/translate", None, config.retry_policy());
        Ok(Self { config, client, api_key })
    }

    fn translate_batch(
        &self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<String>, Error> {
        let request = Request {
            q: texts,
            source: from.as_str(),
            target: to.as_str(),
            format: "text",
            api_key: self.api_key.as_deref(),
        };
        let body = serde_json::to_vec(&request).map_err(|cause| Error::Server {
            url: self.client.address.clone(),
            problem: cause.to_string(),
            attempts: 0,
        })?;
        self.client.call(&body, |text| {
            match parse::<Reply>(text, "{\"translatedText\": [\"…\"]}") {
                Outcome::Success(reply) if reply.translated_text.len() == texts.len() => {
                    Outcome::Success(reply.translated_text)
                }
                Outcome::Success(reply) => {
                    let (actual, expected) = (reply.translated_text.len(), texts.len());
                    Outcome::Failure(format!(
                        "expected {expected} texts in the response, got {actual}"
                    ))
                }
                Outcome::Retry(problem, wait) => Outcome::Retry(problem, wait),
                Outcome::Failure(problem) => Outcome::Failure(problem),
            }
        })
    }
}

impl Translator for HttpTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut translations = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.config.batch_size) {
            translations.extend(self.translate_batch(batch, from, to)?.into_iter().map(Some));
        }
        Ok(translations)
    }

    fn batch_size(&self) -> usize {
        self.config.batch_size
    }
}
