//! Tests of the HTTP translator with a local server.
use std::time::{Duration, Instant};

use crate::common::{DE, EN, Reply, Server, ZH, upper_case};
use qa_translate::{Error, HttpTranslator, ServerConfig, Translations, Translator};
use serde_json::json;

fn translate(config: ServerConfig, texts: &[&str]) -> Translations {
    HttpTranslator::new(config, 2, None).unwrap().translate(texts, EN, DE)
}

/// Returns the problem and the number of attempts of a failure.
fn failure(config: ServerConfig) -> (String, u32) {
    match translate(config, &["a"]) {
        Err(Error::Server { problem, attempts, url }) => {
            assert!(url.ends_with("/translate"), "{url}");
            (problem, attempts)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn batches_are_sent_in_order_in_libretranslate_format() {
    let server = Server::start(|_, body| upper_case(body));
    let config = ServerConfig { url: format!("{}/", server.url), ..server.config() };
    let mut http = HttpTranslator::new(config, 2, Some("secret".into())).unwrap();
    let actual = http.translate(&["a \"quoted\"", "é\n北", "c"], EN, ZH).unwrap();
    let expected = ["A \"QUOTED\"", "É\n北", "C"].map(|text| Some(text.to_owned()));
    assert_eq!(actual, expected);
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests[0].0, "POST /translate HTTP/1.1");
    assert_eq!(
        requests.iter().map(|(_, body)| body.clone()).collect::<Vec<_>>(),
        [json!(["a \"quoted\"", "é\n北"]), json!(["c"])].map(|q| json!({
            "q": q, "source": "en", "target": "zh", "format": "text", "api_key": "secret"
        }))
    );
}

#[test]
fn empty_keys_and_empty_batches_are_not_sent() {
    let server = Server::start(|_, body| upper_case(body));
    assert_eq!(translate(server.config(), &[]).unwrap(), Vec::<Option<String>>::new());
    assert_eq!(server.request_count(), 0);
    translate(server.config(), &["a"]).unwrap();
    assert_eq!(server.requests.lock().unwrap()[0].1.get("api_key"), None);
}

#[test]
fn status_429_lost_connections_and_truncated_responses_are_retried() {
    let server = Server::start(|number, body| match number {
        0 => Reply::RetryAfter(429, json!({"error": "slow down"}).to_string(), 3600),
        1 => Reply::HangUp,
        2 => Reply::Status(200, "{\"translatedText\": [\"A".into()),
        _ => upper_case(body),
    });
    let config = ServerConfig { attempts: 4, ..server.config() };
    let start = Instant::now();
    assert_eq!(translate(config, &["a"]).unwrap(), [Some("A".into())]);
    assert_eq!(server.request_count(), 4);
    // The requested wait of one hour is limited to the maximum wait.
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn retry_after_is_respected() {
    let server = Server::start(|number, body| match number {
        0 => Reply::RetryAfter(503, "busy".into(), 1),
        _ => upper_case(body),
    });
    let start = Instant::now();
    let long_max_wait = ServerConfig { longest_wait_seconds: 60.0, ..server.config() };
    translate(long_max_wait, &["a"]).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1));
}

#[test]
fn server_errors_are_retried_and_invalid_responses_are_not() {
    for (status, body, expected, attempts) in [
        (500, r#"{"error": "no model"}"#, "status 500: no model", 3),
        (400, r#"{"error": "xx is not supported"}"#, "status 400: xx is not supported", 1),
        (403, "Invalid key\nmore", "status 403: Invalid key", 1),
        (302, "", "status 302: no text", 1),
        // These responses are not translations.
        (200, "<html>", "got \"<html>\"", 1),
        (200, r#"{"translatedText": "A"}"#, "expected {\"translatedText\"", 1),
        (200, r#"{"translatedText": ["A", "B"]}"#, "expected 1 texts in the response, got 2", 1),
        (200, "", "the response is truncated", 3),
        (200, r#"{"translatedText": ["A"]"#, "the response is truncated", 3),
    ] {
        let server = Server::start(move |_, _| Reply::Status(status, body.into()));
        let (problem, tries) = failure(server.config());
        assert!(problem.contains(expected) && !problem.contains("more"), "{problem}");
        assert_eq!((tries, server.request_count()), (attempts, attempts as usize), "{problem}");
    }
}

#[test]
fn a_silent_server_times_out() {
    let server = Server::start(|_, _| Reply::Stall(Duration::from_secs(2)));
    let short_timeout = ServerConfig { timeout_seconds: 0.1, attempts: 2, ..server.config() };
    let start = Instant::now();
    let (problem, attempts) = failure(short_timeout);
    assert!(problem.contains("timeout"), "{problem}");
    assert_eq!(attempts, 2);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn refused_connections_are_retried() {
    let server = Server::start(|_, body| upper_case(body));
    // No service listens on this port.
    let url = "http://127.0.0.1:9".into();
    assert_eq!(failure(ServerConfig { url, ..server.config() }).1, 3);
}

#[test]
fn invalid_settings_are_rejected() {
    let default_config = ServerConfig::default;
    for (expected, config) in [
        ("url", ServerConfig { url: "localhost:5000".into(), ..default_config() }),
        ("url", ServerConfig { url: "ftp://x".into(), ..default_config() }),
        #[cfg(not(feature = "https"))]
        ("url", ServerConfig { url: "https://x".into(), ..default_config() }),
        ("batch_size", default_config()),
        ("attempts", ServerConfig { attempts: 0, ..default_config() }),
        ("timeout_seconds", ServerConfig { timeout_seconds: 0.0, ..default_config() }),
        ("first_wait_seconds", ServerConfig { first_wait_seconds: f64::NAN, ..default_config() }),
        ("longest_wait_seconds", ServerConfig { longest_wait_seconds: -1.0, ..default_config() }),
    ] {
        let batch_size = usize::from(expected != "batch_size");
        match HttpTranslator::new(config, batch_size, None).err() {
            Some(Error::Config { key, .. }) => assert_eq!(key, expected),
            other => panic!("{expected}: {other:?}"),
        }
    }
}
