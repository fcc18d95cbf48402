//! Translation by a language model behind an OpenAI-compatible server (llama.cpp, vLLM, Ollama).
use mlqa_eval::Language;
use serde::Deserialize;
use serde_json::json;

use super::chat_rules::{COMPLETE, FILTERED, TRUNCATED};
use super::clean::clean;
use super::client::{JsonClient, RequestError, ServerConfig, first_line, parse};
use super::report::{Outcomes, Rejected, Rejection, RemovedPart, ReplyReport};
use super::split::{join, split};
use crate::{Error, MissingText, Translations, Translator};

/// The part of a response that contains the translation.
#[derive(Deserialize)]
struct Reply {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    message: ReplyMessage,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct ReplyMessage {
    content: Option<Content>,
    refusal: Option<String>,
}

/// The content of a message: text, or a list of typed parts.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
}

impl Content {
    /// Returns the text without parts of other types, such as reasoning.
    fn into_text(self) -> String {
        match self {
            Self::Text(text) => text,
            Self::Parts(parts) => parts
                .into_iter()
                .filter(|part| matches!(part.kind.as_str(), "text" | "output_text"))
                .filter_map(|part| part.text)
                .collect(),
        }
    }
}

/// A translator that sends one text per request: `POST /v1/chat/completions` with a temperature of
/// 0.
///
/// Reasoning, introductions, notes, code fences and quotation marks that the source lacks are
/// removed from a reply. Incomplete replies (finish reason `length`), refusals and replies without
/// text are not translations: [`Translator::translate`] returns `None` for such a text, and
/// [`Translator::take_reply_report`] lists the text with the reason. If the reply is truncated or
/// the server does not accept the text (status 400, 413 or 422), the sentences of the text are
/// translated separately.
///
/// Failed requests are retried as in [`HttpTranslator`](crate::HttpTranslator).
pub struct ChatTranslator {
    client: JsonClient,
    model: String,
    max_tokens: Option<u32>,
    outcomes: Outcomes,
}

/// Version of the prompt and of the rules that clean replies.
const PROMPT_VERSION: u32 = 2;

impl ChatTranslator {
    /// Creates a translator without sending a request. `model` is the name of the model on the
    /// server. The key is sent with each request and never written to a file.
    ///
    /// # Errors
    /// [`Error::Config`] with the key of an invalid value.
    pub fn new(config: ServerConfig, model: &str, api_key: Option<&str>) -> Result<Self, Error> {
        let authorization = api_key.map(|key| format!("Bearer {key}"));
        let client = JsonClient::new(config, "/v1/chat/completions", authorization)?;
        let (model, outcomes) = (model.to_owned(), Outcomes::new());
        Ok(Self { client, model, max_tokens: None, outcomes })
    }

    /// Sets the maximum number of tokens of a reply (`max_tokens` of a request). By default, the
    /// server decides.
    #[must_use]
    pub fn with_max_tokens(self, max_tokens: Option<u32>) -> Self {
        Self { max_tokens, ..self }
    }

    /// Sets how to handle a text that the server does not accept (status 400, 413, 422 or 451) and
    /// that cannot be split into sentences. With [`MissingText::Skip`], status 500 in all attempts
    /// also counts as such a status. The default is [`MissingText::Error`].
    #[must_use]
    pub fn with_missing(mut self, missing: MissingText) -> Self {
        self.outcomes.missing = missing;
        self.client.rejects_internal_errors = missing == MissingText::Skip;
        self
    }

    /// Requests the reply to one text, with the kinds of parts that were removed from it.
    fn complete(
        &self,
        system: &str,
        user: &str,
        to: Language,
    ) -> Result<(String, Vec<RemovedPart>), RequestError> {
        let message = |role, content| json!({"role": role, "content": content});
        let messages = [message("system", system), message("user", user)];
        let mut body = json!({"model": self.model, "messages": messages, "temperature": 0});
        if let Some(max_tokens) = self.max_tokens {
            body["max_tokens"] = max_tokens.into();
        }
        let reply = self.client.send_with_retries(&body, |text| {
            let reply: Reply = parse(text, "{\"choices\": [{\"message\": {\"content\": \"…\"}}]}")?;
            Ok(reply.choices.into_iter().next())
        })?;
        // Some servers return no choice if they filter the text.
        let no_choice = Rejected { reason: Rejection::NoText, detail: "no choices".into() };
        let translation = match reply {
            Some(choice) => translation_of(choice, user, to),
            None => Err(no_choice),
        };
        translation.map_err(RequestError::Rejected)
    }

    /// Translates a text, in parts if the complete text is not translated. Returns the reason if
    /// the text has no translation.
    fn translate_text(
        &mut self,
        system: &str,
        text: &str,
        to: Language,
    ) -> Result<Result<String, Rejected>, Error> {
        let rejected = match self.complete(system, text, to) {
            Ok((translation, removed)) => {
                self.outcomes.accept();
                self.outcomes.count_removed(&removed);
                return Ok(Ok(translation));
            }
            Err(RequestError::Failed(error)) => return Err(error),
            Err(RequestError::Rejected(rejected)) => rejected,
        };
        let is_too_long = matches!(rejected.reason, Rejection::Truncated | Rejection::Status);
        let Some(parts) = is_too_long.then(|| split(text, None)).flatten() else {
            return Ok(Err(rejected));
        };
        self.outcomes.report.split += 1;
        let mut translations = Vec::with_capacity(parts.len());
        for part in &parts {
            match self.translate_text(system, &part.text, to)? {
                Ok(translation) => translations.push(translation),
                Err(rejected) => return Ok(Err(rejected)),
            }
        }
        Ok(Ok(join(&parts, &translations, to)))
    }
}

/// Returns the translation of `source` in a reply, and the kinds of removed parts.
fn translation_of(
    reply: Choice,
    source: &str,
    to: Language,
) -> Result<(String, Vec<RemovedPart>), Rejected> {
    let Choice { message: ReplyMessage { content, refusal }, finish_reason } = reply;
    let rejected = |reason, detail: &str| Err(Rejected { reason, detail: first_line(detail) });
    let text = content.map(Content::into_text);
    let finish = finish_reason.as_deref().unwrap_or("").to_lowercase();
    if TRUNCATED.contains(&finish.as_str()) {
        return rejected(Rejection::Truncated, &finish);
    }
    if FILTERED.contains(&finish.as_str()) {
        return rejected(Rejection::Filtered, &finish);
    }
    if let Some(refusal) = refusal.filter(|refusal| !refusal.trim().is_empty()) {
        return rejected(Rejection::Refused, &refusal);
    }
    let Some(text) = text else { return rejected(Rejection::NoText, "no content") };
    // Some servers do not report a reason.
    if !finish.is_empty() && !COMPLETE.contains(&finish.as_str()) {
        return rejected(Rejection::UnknownFinishReason, &finish);
    }
    clean(source, &text, to).map_err(|reason| Rejected { reason, detail: first_line(&text) })
}

impl Translator for ChatTranslator {
    fn translate(&mut self, texts: &[&str], from: Language, to: Language) -> Translations {
        let system_prompt = format!(
            "Translate what the user writes from the language with the code \"{from}\" to that \
             with the code \"{to}\". Answer with the translation alone. Keep code, markup, \
             placeholders, brackets and marks such as ⟦0⟧ exactly as they are."
        );
        let mut translations = Vec::with_capacity(texts.len());
        for &text in texts {
            let translation = match self.translate_text(&system_prompt, text, to)? {
                Ok(translation) => Some(translation),
                Err(rejected) => {
                    let result = self.outcomes.reject(text, rejected);
                    result.map_err(|problem| self.client.error(problem))?;
                    None
                }
            };
            translations.push(translation);
        }
        Ok(translations)
    }

    fn batch_size(&self) -> usize {
        1
    }

    fn identity(&self) -> Option<String> {
        let (address, model) = (self.client.public_address(), &self.model);
        Some(format!("{address} model={model} prompt={PROMPT_VERSION}"))
    }

    fn take_reply_report(&mut self) -> ReplyReport {
        std::mem::take(&mut self.outcomes.report)
    }
}
