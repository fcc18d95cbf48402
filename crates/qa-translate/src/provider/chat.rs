//! Translation by a language model behind an OpenAI-compatible server (llama.cpp, vLLM, Ollama).
use mlqa_eval::Language;
use serde::{Deserialize, Serialize};

use super::client::{JsonClient, Outcome, RetryPolicy, parse, validate};
use crate::{Error, Translations, Translator};

/// Options for [`ChatTranslator`].
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ChatConfig {
    /// Address of the server, such as `http://localhost:8080`; requests go to
    /// `/v1/chat/completions` below it.
    pub url: String,
    /// Name of the model at the server.
    pub model: String,
    /// Time limit of one request in seconds, including its response.
    pub timeout_seconds: f64,
    /// Maximum number of requests per text.
    pub attempts: u32,
    /// Seconds before the second request; each later wait is twice as long.
    pub first_wait_seconds: f64,
    /// Maximum wait in seconds, also for a longer `Retry-After`.
    pub longest_wait_seconds: f64,
}

impl Default for ChatConfig {
    fn default() -> Self {
        Self {
            url: "http://localhost:8080".into(),
            model: String::new(),
            timeout_seconds: 300.0,
            attempts: 6,
            first_wait_seconds: 1.0,
            longest_wait_seconds: 60.0,
        }
    }
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

/// A translator that sends one text per request: `POST /v1/chat/completions` with a temperature of
/// 0.
///
/// Failed requests are retried as by [`HttpTranslator`](crate::HttpTranslator).
pub struct ChatTranslator {
    client: JsonClient,
    model: String,
}

impl ChatTranslator {
    /// Creates a translator, without a request to the server. The key is sent with each request and
    /// never written to a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of an invalid value.
    pub fn new(config: &ChatConfig, api_key: Option<&str>) -> Result<Self, Error> {
        let retry_policy = RetryPolicy {
            timeout_seconds: config.timeout_seconds,
            attempts: config.attempts,
            first_wait_seconds: config.first_wait_seconds,
            longest_wait_seconds: config.longest_wait_seconds,
        };
        validate(&config.url, retry_policy)?;
        let authorization = api_key.map(|key| format!("Bearer {key}"));
        let client =
            JsonClient::new(&config.url, "/v1/chat/completions", authorization, retry_policy);
        Ok(Self { client, model: config.model.clone() })
    }

    fn complete(&self, system: &str, user: &str) -> Result<String, Error> {
        let message = |role, content| serde_json::json!({"role": role, "content": content});
        let messages = [message("system", system), message("user", user)];
        let body = serde_json::json!({
            "model": self.model, "messages": messages, "temperature": 0
        });
        self.client.call(body.to_string().as_bytes(), |text| {
            let expected = "{\"choices\": [{\"message\": {\"content\": \"…\"}}]}";
            match parse::<Reply>(text, expected) {
                Outcome::Success(reply) => match reply.choices.into_iter().next() {
                    Some(choice) => Outcome::Success(choice.message.content),
                    None => Outcome::Failure("the response has no choices".into()),
                },
                Outcome::Retry(problem, wait) => Outcome::Retry(problem, wait),
                Outcome::Failure(problem) => Outcome::Failure(problem),
            }
        })
    }
}

impl Translator for ChatTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let system_prompt = format!(
            "Translate what the user writes from the language with the code \"{from}\" to that \
             with the code \"{to}\". Answer with the translation alone. Keep code, markup, \
             placeholders, brackets and marks such as ⟦0⟧ exactly as they are."
        );
        let translate = |&text: &&str| {
            let answer = self.complete(&system_prompt, text)?;
            // Models append line breaks.
            let trimmed = if text.trim() == text { answer.trim() } else { &answer };
            Ok(Some(trimmed.to_owned()))
        };
        texts.iter().map(translate).collect()
    }

    fn batch_size(&self) -> usize {
        1
    }
}
