//! Tests of the HTTP translator with a local server.
use std::time::{Duration, Instant};

use crate::common::{DE, EN, Reply, Server, ZH, upper_case};
use qa_translate::{
    Error, HttpTranslator, MissingText, Rejection, ServerConfig, Translations, Translator,
};
use serde_json::{Value, json};

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

/// Returns a server that rejects batches and texts above its limits, like LibreTranslate.
fn limited_server(settings: Option<Value>, max_texts: usize, max_characters: usize) -> Server {
    Server::with_settings(settings, move |_, body| {
        let texts = body["q"].as_array().unwrap();
        let is_long = |text: &Value| text.as_str().unwrap().chars().count() > max_characters;
        match texts.len() > max_texts || texts.iter().any(is_long) {
            true => Reply::Status(400, json!({"error": "exceeds text limit"}).to_string()),
            false => upper_case(body),
        }
    })
}

#[test]
fn long_texts_are_split_at_sentences() {
    let texts = ["a", "One is a.  Two is b. Three is c.", "b", "Four is d. Five is e."];
    let expected = texts.map(|text| Some(text.to_uppercase()));
    for settings in [Some(json!({"charLimit": 12})), Some(json!({"charLimit": -1})), None] {
        let is_known = settings == Some(json!({"charLimit": 12}));
        let server = limited_server(settings, 4, 12);
        let mut http = HttpTranslator::new(server.config(), 4, None).unwrap();
        assert_eq!(http.translate(&texts, EN, DE).unwrap(), expected);
        let report = http.take_reply_report();
        assert_eq!((report.split, report.rejected.len()), (2, 0));
        assert!(http.take_reply_report().is_empty());
        // With a known limit, only the first request is rejected.
        let requests = server.request_count();
        assert_eq!(requests, if is_known { 1 + 4 } else { 1 + 2 + 2 + 4 });
    }
}

#[test]
fn the_batch_size_decreases_to_the_limit_of_the_server() {
    let server = limited_server(None, 3, 100);
    let mut http = HttpTranslator::new(server.config(), 8, None).unwrap();
    let texts: Vec<String> = (0..16).map(|k| format!("n{k}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let expected: Vec<_> = texts.iter().map(|text| Some(text.to_uppercase())).collect();
    assert_eq!(http.translate(&texts, EN, DE).unwrap(), expected);
    // Batches of 8 and two of 4 are rejected; all later batches have two texts.
    assert_eq!(server.request_count(), 3 + 4 + 4);
}

#[test]
fn texts_that_cannot_be_split_are_errors_or_skipped() {
    let long = "One sentence that is too long";
    let server = limited_server(Some(json!({"charLimit": 12})), 4, 12);
    let new = || HttpTranslator::new(server.config(), 4, None).unwrap();
    let error = new().translate(&["a", long], EN, DE).unwrap_err().to_string();
    assert!(error.contains("exceeds") || error.contains("29 code points"), "{error}");
    assert!(error.contains(long) && error.contains("--missing skip"), "{error}");
    let mut http = new().with_missing(MissingText::Skip);
    assert_eq!(http.translate(&["a", long], EN, DE).unwrap(), [Some("A".into()), None]);
    let report = http.take_reply_report();
    assert_eq!(report.rejected[&Rejection::Status], 1);
    assert_eq!(report.rejected_texts[0].text, long);
    // A server that rejects every text has a wrong setting.
    let server = Server::start(|_, _| Reply::Status(400, json!({"error": "xx?"}).to_string()));
    let http = HttpTranslator::new(server.config(), 4, None).unwrap();
    let texts = vec!["a"; 40];
    let error = http.with_missing(MissingText::Skip).translate(&texts, EN, DE).unwrap_err();
    assert!(error.to_string().contains("the first 16 texts were rejected"), "{error}");
}

#[test]
fn blank_replies_are_listed() {
    let server =
        Server::start(|_, _| Reply::Status(200, json!({"translatedText": [" ", "B"]}).to_string()));
    let mut http = HttpTranslator::new(server.config(), 4, None).unwrap();
    assert_eq!(http.translate(&["a", "b"], EN, DE).unwrap(), [None, Some("B".into())]);
    assert_eq!(http.take_reply_report().rejected[&Rejection::Blank], 1);
}

#[test]
fn further_temporary_failures_are_retried() {
    let error = |code| Reply::Status(200, json!({"error": {"code": code}}).to_string());
    let server = Server::start(move |number, body| match number {
        0 => Reply::Status(408, "timeout".into()),
        1 => Reply::Status(425, "too early".into()),
        2 => error(json!(502)),
        3 => error(json!("429")),
        _ => upper_case(body),
    });
    let config = ServerConfig { attempts: 5, ..server.config() };
    assert_eq!(translate(config, &["a"]).unwrap(), [Some("A".into())]);
}

#[test]
fn a_text_that_the_server_cannot_translate_is_skipped() {
    let json = |status, body: Value| Reply::Status(status, body.to_string());
    for (reply, reason) in [
        (json(451, json!({"error": "legal"})), Rejection::Status),
        (json(403, json!({"error": "The input was flagged by moderation"})), Rejection::Status),
        (json(200, json!({"error": "too long"})), Rejection::Status),
        (json(200, json!({"translatedText": null})), Rejection::Status),
        (json(200, json!({"translatedText": [null]})), Rejection::NoText),
        // LibreTranslate returns status 500 for texts that fail in the model.
        (json(500, json!({"error": "Cannot translate text: bad"})), Rejection::Status),
    ] {
        let Reply::Status(status, reply) = reply else { unreachable!() };
        let server = Server::start(move |_, body| {
            let texts = body["q"].as_array().unwrap();
            match texts.contains(&json!("bad")) && (texts.len() == 1 || status != 200) {
                true => Reply::Status(status, reply.clone()),
                false => upper_case(body),
            }
        });
        let config = ServerConfig { attempts: 2, ..server.config() };
        let mut http =
            HttpTranslator::new(config, 1, None).unwrap().with_missing(MissingText::Skip);
        let actual = http.translate(&["a", "bad", "c"], EN, DE).unwrap();
        assert_eq!(actual, [Some("A".into()), None, Some("C".into())], "{status}");
        assert_eq!(http.take_reply_report().rejected[&reason], 1, "{status}");
    }
}

#[test]
fn a_server_that_fails_for_every_text_ends_the_run() {
    let server = Server::start(|number, body| match number {
        0 => upper_case(body),
        _ => Reply::Status(500, json!({"error": "no memory"}).to_string()),
    });
    let config = ServerConfig { attempts: 1, ..server.config() };
    let mut http = HttpTranslator::new(config, 1, None).unwrap().with_missing(MissingText::Skip);
    let error = http.translate(&vec!["a"; 40], EN, DE).unwrap_err().to_string();
    assert!(error.contains("status 500: no memory"), "{error}");
    // The first text is translated, and eight texts are skipped.
    assert_eq!(server.request_count(), 1 + 8 + 1);
}

#[test]
fn the_default_retries_last_longer_than_a_limit_per_minute() {
    let config = ServerConfig::default();
    let waits = (0..config.attempts - 1).map(|k| config.first_wait_seconds * f64::from(1 << k));
    let total: f64 = waits.map(|wait| wait.min(config.longest_wait_seconds)).sum();
    assert!(total > 90.0, "{total}");
}
