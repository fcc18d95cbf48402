//! A chat server, and its answers on disk.
use std::time::{Duration, Instant};

use crate::common::{Reply, Server};
use mlqa_eval::Language;
use qa_translate::{
    Chat, ChatConfig, ChatMessage, ChatRequest, ChatTranslator, Error, HttpChat, RecordedChat,
    Translator,
};
use serde_json::{Value, json};

fn config(server: &Server) -> ChatConfig {
    ChatConfig {
        url: server.url.clone(),
        timeout_seconds: 10.0,
        attempts: 3,
        first_wait_seconds: 0.01,
        longest_wait_seconds: 0.05,
        ..ChatConfig::default()
    }
}

fn request(text: &str) -> ChatRequest {
    let messages = vec![ChatMessage { role: "user".into(), content: text.into() }];
    ChatRequest { model: "m".into(), messages }
}

/// The last message in upper case, as a model would put it.
fn shout(body: &Value) -> Reply {
    let said = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
    let message = json!({"role": "assistant", "content": format!("{}\n", said.to_uppercase())});
    Reply::Say(200, json!({"choices": [{"index": 0, "message": message}]}).to_string())
}

#[test]
fn translations_are_asked_for_one_by_one_with_the_key_in_the_header() {
    let server = Server::start(|_, body| shout(body));
    let chat = HttpChat::new(&config(&server), Some("secret")).unwrap();
    let mut translator = ChatTranslator { chat, model: "gemma".into() };
    let got = translator.translate(&["a ([b])", " c "], Language::EN, Language::DE).unwrap();
    // Blanks at the ends are the text's.
    assert_eq!(got, [Some("A ([B])".into()), Some(" C \n".into())]);
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

#[test]
fn slow_wrong_and_partial_answers() {
    let whole = json!({"choices": [{"message": {"content": "x"}}]}).to_string();
    let cut = whole[..20].to_owned();
    let server = Server::start(move |number, _| match number {
        0 => Reply::Later(429, json!({"error": {"message": "slow down"}}).to_string(), 3600),
        1 => Reply::Say(200, cut.clone()),
        _ => Reply::Say(200, whole.clone()),
    });
    let mut chat = HttpChat::new(&config(&server), None).unwrap();
    assert_eq!(chat.ask(&request("a")).unwrap(), "x");
    assert_eq!(server.count(), 3);
    for (status, body, problem, attempts) in [
        (401, r#"{"error": {"message": "no such key"}}"#, "status 401: no such key", 1),
        (503, "busy", "status 503: busy", 3),
        (200, "[1]", "expected {\"choices\"", 1),
        (200, r#"{"choices": []}"#, "without a choice", 1),
        (200, r#"{"choices": [{"message": {"content": null}}]}"#, "expected {\"choices\"", 1),
    ] {
        let server = Server::start(move |_, _| Reply::Say(status, body.into()));
        let error = HttpChat::new(&config(&server), None).unwrap().ask(&request("a")).unwrap_err();
        let Error::Server { problem: got, attempts: tried, .. } = &error else { panic!("{error}") };
        assert!(got.contains(problem) && *tried == attempts, "{error}");
    }
    let server = Server::start(|_, _| Reply::Stall(Duration::from_secs(2)));
    let short = ChatConfig { timeout_seconds: 0.1, attempts: 1, ..config(&server) };
    assert!(HttpChat::new(&short, None).unwrap().ask(&request("a")).is_err());
}

#[test]
fn a_budget_and_a_rate() {
    let server = Server::start(|_, body| shout(body));
    let limits = ChatConfig { most_requests: 3, requests_per_minute: 1200.0, ..config(&server) };
    let mut chat = HttpChat::new(&limits, None).unwrap();
    let start = Instant::now();
    for text in ["a", "b", "c"] {
        chat.ask(&request(text)).unwrap();
    }
    assert!(start.elapsed() >= Duration::from_millis(100), "50 ms apart");
    assert!(matches!(chat.ask(&request("d")), Err(Error::Budget)));
    assert_eq!(server.count(), 3);
    for bad in [
        ChatConfig { requests_per_minute: -1.0, ..config(&server) },
        ChatConfig { requests_per_minute: f64::NAN, ..config(&server) },
        ChatConfig { attempts: 0, ..config(&server) },
        ChatConfig { url: "ftp://x".into(), ..config(&server) },
    ] {
        assert!(matches!(HttpChat::new(&bad, None), Err(Error::Config { .. })), "{bad:?}");
    }
}

#[test]
fn what_was_answered_is_never_asked_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("answers.jsonl");
    let server = Server::start(|_, body| shout(body));
    let http = || HttpChat::new(&config(&server), None).unwrap();
    {
        let limited = ChatConfig { most_requests: 2, ..config(&server) };
        let limited = HttpChat::new(&limited, None).unwrap();
        let mut chat = RecordedChat::open(Some(limited), &path).unwrap();
        for text in ["a", "b", "a"] {
            chat.ask(&request(text)).unwrap();
        }
        assert!(matches!(chat.ask(&request("c")), Err(Error::Budget)));
        // Nobody else writes to it meanwhile.
        assert!(matches!(RecordedChat::open(Some(http()), &path), Err(Error::Io { .. })));
    }
    // A kill left half a line.
    let mut text = std::fs::read_to_string(&path).unwrap();
    text.push_str("{\"request\":{\"model\":\"m\",\"mess");
    std::fs::write(&path, &text).unwrap();
    {
        let mut chat = RecordedChat::open(Some(http()), &path).unwrap();
        for text in ["a", "b", "c"] {
            assert_eq!(chat.ask(&request(text)).unwrap(), format!("{}\n", text.to_uppercase()));
        }
    }
    assert_eq!(server.count(), 3);
    // The file alone answers what it holds.
    let mut alone = RecordedChat::<HttpChat>::open(None, &path).unwrap();
    assert_eq!(alone.ask(&request("c")).unwrap(), "C\n");
    let error = alone.ask(&request("d")).unwrap_err().to_string();
    assert!(error.contains("answers.jsonl") && error.contains("\"d\""), "{error}");
    drop(alone);
    std::fs::write(&path, "{\"request\": 1}\n").unwrap();
    let error = RecordedChat::<HttpChat>::open(None, &path).unwrap_err().to_string();
    assert!(error.contains("answers.jsonl:1"), "{error}");
}
