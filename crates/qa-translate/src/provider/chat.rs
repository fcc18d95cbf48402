//! Translation by a language model behind an OpenAI-compatible server (llama.cpp, vLLM, Ollama).
use mlqa_eval::Language;
use serde::Deserialize;
use serde_json::json;

use super::client::{Failure, JsonClient, ServerConfig, parse};
use crate::{Error, Translations, Translator};

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
/// Failed requests are retried as in [`HttpTranslator`](crate::HttpTranslator).
pub struct ChatTranslator {
    client: JsonClient,
    model: String,
}

impl ChatTranslator {
    /// Creates a translator without sending a request. `model` is the name of the model on the
    /// server. The key is sent with each request and never written to a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of an invalid value.
    pub fn new(config: ServerConfig, model: &str, api_key: Option<&str>) -> Result<Self, Error> {
        let authorization = api_key.map(|key| format!("Bearer {key}"));
        let client = JsonClient::new(config, "/v1/chat/completions", authorization)?;
        Ok(Self { client, model: model.to_owned() })
    }

    fn complete(&self, system: &str, user: &str) -> Result<String, Error> {
        let message = |role, content| json!({"role": role, "content": content});
        let messages = [message("system", system), message("user", user)];
        let body = json!({"model": self.model, "messages": messages, "temperature": 0});
        self.client.send_with_retries(&body, |text| {
            let reply: Reply = parse(text, "{\"choices\": [{\"message\": {\"content\": \"…\"}}]}")?;
            match reply.choices.into_iter().next() {
                Some(choice) => Ok(choice.message.content),
                None => Err(Failure::Permanent("the response has no choices".into())),
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
            // Models may append line breaks.
            let trimmed = if text.trim() == text { answer.trim() } else { &answer };
            Ok(Some(trimmed.to_owned()))
        };
        texts.iter().map(translate).collect()
    }

    fn batch_size(&self) -> usize {
        1
    }
}
