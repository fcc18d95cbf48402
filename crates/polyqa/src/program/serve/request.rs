//! Requests and responses of `POST /answer`.
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Limits;
use crate::{Answers, Document, Query};

/// The body of `POST /answer`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    question: Option<String>,
    questions: Option<Vec<QuestionInput>>,
    text: Option<String>,
    documents: Option<Vec<DocumentInput>>,
    answers: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or {\"id\": …, \"question\": …}")]
enum QuestionInput {
    Text(String),
    Row { id: Option<Value>, question: String },
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or {\"id\": …, \"text\": …}")]
enum DocumentInput {
    Text(String),
    Row {
        id: Option<Value>,
        #[serde(alias = "context")]
        text: String,
    },
}

/// A validated request.
#[derive(Debug)]
pub struct Request {
    pub queries: Vec<Query>,
    /// `None` if the service's collection is searched.
    pub documents: Option<Vec<Document>>,
    /// Maximum number of answers per question.
    pub answers: usize,
}

/// The body of a successful response.
#[derive(Debug, Serialize)]
pub struct Response {
    /// Answers in the order of the questions.
    pub results: Vec<Answers>,
}

impl Request {
    /// Parses a body. `answers` is a pair: the default and the maximum number of answers per
    /// question. With `has_collection`, a request without documents is valid.
    pub fn read(
        body: &[u8],
        limits: &Limits,
        answers: (usize, usize),
        has_collection: bool,
    ) -> Result<Self, Refusal> {
        let bad_request = |message: String| Refusal::new(400, "bad_request", message);
        let body: Body =
            serde_json::from_slice(body).map_err(|error| bad_request(error.to_string()))?;
        let queries = match (body.question, body.questions) {
            (Some(question), None) => vec![QuestionInput::Text(question)],
            (None, Some(questions)) => questions,
            _ => return Err(bad_request("expected either question or questions".into())),
        };
        let documents = match (body.text, body.documents) {
            (Some(text), None) => Some(vec![DocumentInput::Text(text)]),
            (None, Some(documents)) => Some(documents),
            (None, None) if has_collection => None,
            _ => return Err(bad_request("expected either text or documents".into())),
        };
        let (default, max) = answers;
        let answers = body.answers.unwrap_or(default);
        if !(1..=max).contains(&answers) {
            return Err(bad_request(format!("answers must be 1 to {max}")));
        }
        let question_count = Some(("questions", queries.len(), limits.max_questions));
        let document_count =
            documents.as_ref().map(|all| ("documents", all.len(), limits.max_documents));
        for (name, count, limit) in question_count.into_iter().chain(document_count) {
            if count == 0 {
                return Err(bad_request(format!("{name} is empty")));
            }
            if count > limit {
                let message = format!("{count} {name} exceed the limit of {limit} per request");
                return Err(Refusal::new(413, "too_large", message));
            }
        }
        let queries: Vec<Query> = queries
            .into_iter()
            .map(|input| match input {
                QuestionInput::Text(text) => Ok(Query { id: None, text }),
                QuestionInput::Row { id, question: text } => {
                    Ok(Query { id: id.map(id_text).transpose()?, text })
                }
            })
            .collect::<Result<_, String>>()
            .map_err(bad_request)?;
        if queries.iter().any(|query| query.text.trim().is_empty()) {
            return Err(bad_request("a question is empty".into()));
        }
        let to_document = |(index, input): (usize, DocumentInput)| {
            let (id, text) = match input {
                DocumentInput::Text(text) => (None, text),
                DocumentInput::Row { id, text } => (id, text),
            };
            let id = id.map_or_else(|| Ok(index.to_string()), id_text)?;
            Ok(Document { id: Arc::from(id), text: Arc::from(text) })
        };
        let documents = documents.map(|all| {
            all.into_iter().enumerate().map(to_document).collect::<Result<Vec<_>, String>>()
        });
        let documents = documents.transpose().map_err(bad_request)?;
        Ok(Self { queries, documents, answers })
    }
}

/// Returns an id as text.
fn id_text(id: Value) -> Result<String, String> {
    match id {
        Value::String(id) => Ok(id),
        Value::Number(id) => Ok(id.to_string()),
        _ => Err("an id is neither a string nor a number".into()),
    }
}

/// A rejected request: status and error message.
#[derive(Debug)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        limits: Limits,
    }

    fn read(body: &str) -> Result<Request, Refusal> {
        let args = CommandLine::parse_from(["", "--max-questions", "2", "--max-documents", "2"]);
        Request::read(body.as_bytes(), &args.limits, (3, 20), false)
    }

    #[test]
    fn questions_and_documents_have_several_formats() {
        let single = read(r#"{"question": "Where?", "text": "Here.", "answers": 1}"#).unwrap();
        assert_eq!((single.queries, single.answers), (vec!["Where?".into()], 1));
        let documents = single.documents.unwrap();
        assert_eq!((&*documents[0].id, &*documents[0].text), ("0", "Here."));
        let multiple = read(
            r#"{"questions": ["Where?", {"id": 7, "question": "Who?"}],
                "documents": ["Here.", {"id": "b", "context": "There."}]}"#,
        );
        let multiple = multiple.unwrap();
        assert_eq!(multiple.queries[1], Query { id: Some("7".into()), text: "Who?".into() });
        assert_eq!((&*multiple.documents.unwrap()[1].id, multiple.answers), ("b", 3));
    }

    #[test]
    fn documents_may_be_absent_if_there_is_a_collection() {
        let args = CommandLine::parse_from([""]);
        let read = |body: &str| Request::read(body.as_bytes(), &args.limits, (3, 20), true);
        assert!(read(r#"{"question": "Where?"}"#).unwrap().documents.is_none());
        assert_eq!(read(r#"{"question": "a", "text": "b"}"#).unwrap().documents.unwrap().len(), 1);
        assert!(read(r#"{"question": "a", "text": "b", "documents": []}"#).is_err());
    }

    #[test]
    fn invalid_requests_are_rejected_with_a_reason() {
        let nested = format!(r#"{{"question": {}"#, "[".repeat(100_000));
        let cases = [
            ("", 400, "EOF"),
            ("[]", 400, "invalid length"),
            (r#"{"question": "a"}"#, 400, "text or documents"),
            (r#"{"question": "a", "text": "b", "documents": []}"#, 400, "text or documents"),
            (r#"{"question": "a", "questions": [], "text": "b"}"#, 400, "question or questions"),
            (r#"{"question": " ", "text": "b"}"#, 400, "a question is empty"),
            (r#"{"question": "a", "question": "a", "text": "b"}"#, 400, "duplicate field"),
            (r#"{"question": "a", "text": "b", "colour": 1}"#, 400, "colour"),
            (r#"{"question": "a", "text": "b", "answers": 21}"#, 400, "1 to 20"),
            (r#"{"question": "a", "text": "b", "answers": 0}"#, 400, "1 to 20"),
            (r#"{"question": "a", "text": "\ud800"}"#, 400, "hex escape"),
            (r#"{"question": "a", "documents": []}"#, 400, "documents is empty"),
            (r#"{"question": "a", "documents": [{"text": 1}]}"#, 400, "a string or"),
            (r#"{"question": "a", "documents": [{"id": [], "text": "b"}]}"#, 400, "an id"),
            (r#"{"questions": ["a", "b", "c"], "text": "b"}"#, 413, "3 questions"),
            (r#"{"question": "a", "documents": ["a", "b", "c"]}"#, 413, "3 documents"),
            (&nested, 400, "invalid type"),
        ];
        for (body, status, reason) in cases {
            let refusal = read(body).unwrap_err();
            assert_eq!(refusal.status, status, "{body:.80}");
            assert!(refusal.message.contains(reason), "{body:.80}: {}", refusal.message);
        }
    }
}
