//! Translation by a LibreTranslate-compatible server.
use mlqa_eval::Language;
use serde::Deserialize;
use serde_json::json;

use super::client::{Failure, JsonClient, ServerConfig, parse};
use crate::{Error, Translations, Translator};

/// A translator that uses a LibreTranslate-compatible server.
///
/// Each request is `POST /translate` with `q` (several texts), `source`, `target`, `format` and, if
/// a key is set, `api_key`. `translatedText` in the response must contain as many texts as `q`.
///
/// Connection errors, timeouts, incomplete responses and the status codes 429 and 5xx are retried
/// with increasing waits. Other errors and redirections are not retried. Proxy variables such as
/// `http_proxy` are supported.
pub struct HttpTranslator {
    client: JsonClient,
    batch_size: usize,
    api_key: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reply {
    translated_text: Vec<String>,
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
        Ok(Self { client, batch_size, api_key })
    }

    fn translate_batch(
        &self,
        texts: &[&str],
        from: Language,
        to: Language,
    ) -> Result<Vec<String>, Error> {
        let (source, target) = (from.as_str(), to.as_str());
        let mut body = json!({"q": texts, "source": source, "target": target, "format": "text"});
        if let Some(key) = &self.api_key {
            body["api_key"] = key.as_str().into();
        }
        self.client.send_with_retries(&body, |text| {
            let Reply { translated_text } = parse(text, "{\"translatedText\": [\"…\"]}")?;
            let (got, expected) = (translated_text.len(), texts.len());
            match got == expected {
                true => Ok(translated_text),
                false => Err(Failure::Permanent(format!(
                    "expected {expected} texts in the response, got {got}"
                ))),
            }
        })
    }
}

impl Translator for HttpTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let mut translations = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.batch_size) {
            translations.extend(self.translate_batch(batch, from, to)?.into_iter().map(Some));
        }
        Ok(translations)
    }

    fn batch_size(&self) -> usize {
        self.batch_size
    }
}
