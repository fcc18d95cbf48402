//! Tests of translation by a chat server.
use crate::common::{DE, EN, Reply, Server, upper_case_chat};
use qa_translate::{ChatTranslator, Error, ServerConfig, Translator};
use serde_json::json;

#[test]
fn each_request_has_one_text_and_the_key_in_the_header() {
    let server = Server::start(|_, body| upper_case_chat(body));
    let mut translator = ChatTranslator::new(server.config(), "gemma", Some("secret")).unwrap();
    let actual = translator.translate(&["a ([b])", " c "], EN, DE).unwrap();
    // White space at the ends of the text is preserved.
    assert_eq!(actual, [Some("A ([B])".into()), Some(" C \n".into())]);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests[0].0, "POST /v1/chat/completions HTTP/1.1");
    let body = &requests[0].1;
    assert_eq!((&body["model"], &body["temperature"]), (&json!("gemma"), &json!(0)));
    assert_eq!(body["messages"][1], json!({"role": "user", "content": "a ([b])"}));
    let prompt = body["messages"][0]["content"].as_str().unwrap();
    assert!(prompt.contains("\"en\"") && prompt.contains("\"de\""), "{prompt}");
    assert!(!body.to_string().contains("secret"));
    assert!(server.headers.lock().unwrap()[0].contains("authorization: bearer secret"));
}

/// Waits, retries and timeouts are tested with `HttpTranslator`.
#[test]
fn errors_and_invalid_responses_are_reported() {
    for (status, body, problem) in [
        (401, r#"{"error": {"message": "no such key"}}"#, "status 401: no such key"),
        (200, r#"{"choices": []}"#, "the response has no choices"),
        (200, r#"{"choices": [{"message": {"content": null}}]}"#, "expected {\"choices\""),
    ] {
        let server = Server::start(move |_, _| Reply::Status(status, body.into()));
        let mut translator = ChatTranslator::new(server.config(), "gemma", None).unwrap();
        let error = translator.translate(&["a"], EN, DE).unwrap_err();
        let Error::Server { problem: actual, attempts, .. } = &error else { panic!("{error}") };
        assert!(actual.contains(problem) && *attempts == 1, "{error}");
    }
    let invalid_config = ServerConfig { attempts: 0, ..ServerConfig::default() };
    let error = ChatTranslator::new(invalid_config, "gemma", None).err();
    assert!(matches!(error, Some(Error::Config { key: "attempts", .. })), "{error:?}");
}
