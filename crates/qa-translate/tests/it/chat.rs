//! Tests of translation by a chat server.
use crate::common::{Reply, Server};
use mlqa_eval::Language;
use qa_translate::{ChatConfig, ChatTranslator, Error, Translator};
use serde_json::{Value, json};

fn config(server: &Server) -> ChatConfig {
    ChatConfig {
        url: server.url.clone(),
        model: "gemma".into(),
        timeout_seconds: 10.0,
        attempts: 3,
        first_wait_seconds: 0.01,
        longest_wait_seconds: 0.05,
    }
}

/// Returns a chat response with the last message in upper case.
fn upper_case_chat(body: &Value) -> Reply {
    let user_text =
        body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    let message =
        json!({"role": "assistant", "content": format!("{}\n", user_text.to_uppercase())});
    Reply::Status(200, json!({"choices": [{"index": 0, "message": message}]}).to_string())
}

#[test]
fn each_request_has_one_text_and_the_key_in_the_header() {
    let server = Server::start(|_, body| upper_case_chat(body));
    let mut translator = ChatTranslator::new(&config(&server), Some("secret")).unwrap();
    let actual = translator.translate(&["a ([b])", " c "], Language::EN, Language::DE).unwrap();
    // White space at the ends of the text is preserved.
    assert_eq!(actual, [Some("A ([B])".into()), Some(" C \n".into())]);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests[0].0, "POST /v1/chat/completions HTTP/1.1");
    let body = &requests[0].1;
    assert_eq!((&body["model"], &body["temperature"]), (&json!("gemma"), &json!(0)));
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "a ([b])"}));
    let rule = body["messages"][0]["content"].as_str().unwrap();
    assert!(rule.contains("\"en\"") && rule.contains("\"de\""), "{rule}");
    assert!(!body.to_string().contains("secret"));
    assert!(server.headers.lock().unwrap()[0].contains("authorization: bearer secret"));
}

/// Waits, retries and timeouts are tested with `HttpTranslator`.
#[test]
fn errors_and_invalid_answers_are_reported() {
    for (status, body, problem, attempts) in [
        (401, r#"{"error": {"message": "no such key"}}"#, "status 401: no such key", 1),
        (503, "busy", "status 503: busy", 3),
        (200, r#"{"choices": [{"mess"#, "the response is truncated", 3),
        (200, "[1]", "expected {\"choices\"", 1),
        (200, r#"{"choices": []}"#, "the response has no choices", 1),
        (200, r#"{"choices": [{"message": {"content": null}}]}"#, "expected {\"choices\"", 1),
    ] {
        let server = Server::start(move |_, _| Reply::Status(status, body.into()));
        let mut translator = ChatTranslator::new(&config(&server), None).unwrap();
        let error = translator.translate(&["a"], Language::EN, Language::DE).unwrap_err();
        let Error::Server { problem: actual, attempts: tried, .. } = &error else {
            panic!("{error}")
        };
        assert!(actual.contains(problem) && *tried == attempts, "{error}");
    }
    let server = Server::start(|_, body| upper_case_chat(body));
    for invalid_config in [
        ChatConfig { attempts: 0, ..config(&server) },
        ChatConfig { url: "ftp://x".into(), ..config(&server) },
    ] {
        assert!(
            matches!(ChatTranslator::new(&invalid_config, None), Err(Error::Config { .. })),
            "{invalid_config:?}"
        );
    }
}
