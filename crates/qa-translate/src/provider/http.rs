//! Translation by a LibreTranslate-compatible server.
use mlqa_eval::Language;
use serde::Deserialize;
use serde_json::json;

use super::client::{Failure, JsonClient, RequestError, ServerConfig, parse};
use super::report::{Outcomes, Rejected, Rejection, ReplyReport};
use super::split::{Part, join, split};
use crate::lines::is_blank_translation;
use crate::{Error, MissingText, Translations, Translator};

/// A translator that uses a LibreTranslate-compatible server.
///
/// Each request is `POST /translate` with `q` (several texts), `source`, `target`, `format` and, if
/// a key is set, `api_key`. `translatedText` in the response must contain as many texts as `q`.
///
/// Connection errors, timeouts, incomplete responses and the status codes 408, 425, 429 and 5xx are
/// retried with increasing waits. Other errors and redirections are not retried. Proxy variables
/// such as `http_proxy` are supported.
///
/// If the server does not accept a request (status 400, 413, 422 or 451), its texts are sent in smaller
/// batches, and the sentences of a text that is still rejected are translated separately. The
/// maximum length of a text is read from `charLimit` of `GET /frontend/settings`, if available.
/// Rejected and blank replies are listed by [`Translator::take_reply_report`].
pub struct HttpTranslator {
    client: JsonClient,
    batch_size: usize,
    api_key: Option<String>,
    /// The server's maximum number of code points per text; `None` if the server's settings were
    /// not read.
    max_characters: Option<usize>,
    /// Number of requests that the server rejected.
    rejected_requests: usize,
    outcomes: Outcomes,
}

/// The translation of a text, or the reason why there is no translation.
type Outcome = Result<String, Rejected>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    /// `None` for a text without translation.
    translated_text: Option<Vec<Option<String>>>,
}

impl HttpTranslator {
    /// Creates a translator without sending a request. Later requests have at most `batch_size`
    /// texts each.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of an invalid value.
    pub fn new(
        config: ServerConfig,
        batch_size: usize,
        api_key: Option<String>,
    ) -> Result<Self, Error> {
        if batch_size == 0 {
            let (value, rule) = ("0".into(), "at least 1");
            return Err(Error::Config { key: "batch_size", value, rule });
        }
        let client = JsonClient::new(config, "/translate", None)?;
        let outcomes = Outcomes::new();
        let (max_characters, rejected_requests) = (None, 0);
        Ok(Self { client, batch_size, api_key, max_characters, rejected_requests, outcomes })
    }

    /// Sets how to handle a text that the server does not accept and that cannot be split into
    /// sentences. With [`MissingText::Skip`], status 500 in all attempts also means that the server
    /// does not accept the text. The default is [`MissingText::Error`].
    #[must_use]
    pub fn with_missing(mut self, missing: MissingText) -> Self {
        self.outcomes.missing = missing;
        self.client.rejects_internal_errors = missing == MissingText::Skip;
        self
    }

    /// Translates texts with one request.
    fn request(
        &self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Option<String>>, RequestError> {
        let (source, target) = (from.as_str(), to.as_str());
        let mut body = json!({"q": texts, "source": source, "target": target, "format": "text"});
        if let Some(key) = &self.api_key {
            body["api_key"] = key.as_str().into();
        }
        self.client.send_with_retries(&body, |text| {
            let Reply { translated_text } = parse(text, "{\"translatedText\": [\"…\"]}")?;
            let Some(translated_text) = translated_text else {
                return Err(Failure::Rejected("no translatedText in the response".into()));
            };
            let (got, expected) = (translated_text.len(), texts.len());
            match got == expected {
                true => Ok(translated_text),
                false => Err(Failure::Permanent(format!(
                    "expected {expected} texts in the response, got {got}"
                ))),
            }
        })
    }

    /// Returns whether a text is longer than the server's known limit.
    fn is_too_long(&self, text: &str) -> bool {
        self.max_characters.is_some_and(|limit| text.chars().count() > limit)
    }

    /// Reads the server's limit unless it is known.
    fn read_limit(&mut self) {
        if self.max_characters.is_none() {
            let settings = self.client.get("/frontend/settings");
            // Servers without a limit return -1.
            let limit = settings.and_then(|settings| settings["charLimit"].as_u64());
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            self.max_characters = Some(limit.unwrap_or(usize::MAX));
        }
    }

    /// Translates a batch, with several requests if the server rejects the first request.
    fn translate_batch(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Outcome>, Error> {
        let rejected = match texts {
            [] => return Ok(Vec::new()),
            [text] if self.is_too_long(text) => Rejected {
                reason: Rejection::Status,
                detail: format!(
                    "{} code points, but the server accepts {}",
                    text.chars().count(),
                    self.max_characters.expect("only a limit makes a text too long")
                ),
            },
            _ if texts.iter().any(|text| self.is_too_long(text)) => {
                return self.translate_halves(texts, from, to);
            }
            _ => match self.request(texts, from, to) {
                Ok(translations) => {
                    self.outcomes.accept();
                    let no_text = || {
                        let (reason, detail) = (Rejection::NoText, "null".to_owned());
                        Rejected { reason, detail }
                    };
                    let outcomes = translations.into_iter();
                    return Ok(outcomes.map(|outcome| outcome.ok_or_else(no_text)).collect());
                }
                Err(RequestError::Failed(error)) => return Err(error),
                Err(RequestError::Rejected(rejected)) => rejected,
            },
        };
        self.rejected_requests += 1;
        self.read_limit();
        if let [text] = texts {
            let max_characters = self.max_characters.filter(|&max| max < usize::MAX);
            let Some(parts) = split(text, max_characters) else { return Ok(vec![Err(rejected)]) };
            self.outcomes.report.split += 1;
            return Ok(vec![self.translate_parts(&parts, from, to)?]);
        }
        let rejected_before = self.rejected_requests;
        let outcomes = self.translate_halves(texts, from, to)?;
        if self.rejected_requests == rejected_before {
            // The server accepts each text but not all texts at once.
            self.batch_size = self.batch_size.min(texts.len().div_ceil(2));
        }
        Ok(outcomes)
    }

    fn translate_halves(
        &mut self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<Outcome>, Error> {
        let (first, second) = texts.split_at(texts.len() / 2);
        let mut outcomes = self.translate_batch(first, from, to)?;
        outcomes.extend(self.translate_batch(second, from, to)?);
        Ok(outcomes)
    }

    /// Translates the parts of a text, up to the first part that is rejected, and joins them.
    fn translate_parts(
        &mut self,
        parts: &[Part],
        from: Language,
        to: Language,
    ) -> Result<Outcome, Error> {
        let mut translations = Vec::with_capacity(parts.len());
        let texts: Vec<&str> = parts.iter().map(|part| part.text.as_str()).collect();
        for batch in texts.chunks(self.batch_size) {
            for (text, outcome) in batch.iter().zip(self.translate_batch(batch, from, to)?) {
                match outcome {
                    Ok(translation) if !is_blank_translation(text, &translation) => {
                        translations.push(translation);
                    }
                    Ok(_) => {
                        let (reason, detail) = (Rejection::Blank, String::new());
                        return Ok(Err(Rejected { reason, detail }));
                    }
                    Err(rejected) => return Ok(Err(rejected)),
                }
            }
        }
        Ok(Ok(join(parts, &translations, to)))
    }
}

impl Translator for HttpTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut translations = Vec::with_capacity(texts.len());
        let mut rest = texts;
        while !rest.is_empty() {
            // The batch size may decrease after each request.
            let (batch, later) = rest.split_at(self.batch_size.min(rest.len()));
            rest = later;
            for (&text, outcome) in batch.iter().zip(self.translate_batch(batch, from, to)?) {
                let is_blank = |translation: &String| is_blank_translation(text, translation);
                let rejected = match outcome {
                    Ok(translation) if !is_blank(&translation) => {
                        translations.push(Some(translation));
                        continue;
                    }
                    Ok(_) => Rejected { reason: Rejection::Blank, detail: String::new() },
                    Err(rejected) => rejected,
                };
                let result = self.outcomes.reject(text, rejected);
                result.map_err(|problem| self.client.error(problem))?;
                translations.push(None);
            }
        }
        Ok(translations)
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }

    fn identity(&self) -> Option<String> {
        Some(self.client.public_address())
    }

    fn take_reply_report(&mut self) -> ReplyReport {
        std::mem::take(&mut self.outcomes.report)
    }
}
