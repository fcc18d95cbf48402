//! A server of scores, and its answers on disk.
use crate::common::{Reply, Server};
use mlqa_eval::Language;
use qa_translate::{Error, FileScorer, HttpConfig, HttpScorer, ScoreRequest, ScoreText};
use serde_json::{Value, json};

fn config(url: &str) -> HttpConfig {
    HttpConfig {
        url: url.into(),
        batch_size: 2,
        timeout_seconds: 10.0,
        attempts: 3,
        first_wait_seconds: 0.01,
        longest_wait_seconds: 0.05,
        ..HttpConfig::default()
    }
}

fn request(target: &str) -> ScoreRequest {
    let (from, to) = (Language::EN, Language::DE);
    ScoreRequest { from, to, source: "a".into(), target: target.into() }
}

/// Minus the length of the target; one token, which is all of it.
fn scores(body: &Value) -> Value {
    let score = |row: &Value| {
        let length = row["target"].as_str().unwrap().chars().count();
        json!({"total": -(length as f64), "tokens": [[0, length, -(length as f64)]]})
    };
    body.as_array().unwrap().iter().map(score).collect()
}

#[test]
fn scores_are_asked_for_once_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("scores/en-de.jsonl");
    let broken = Server::start(|number, body| match number {
        0 => Reply::Later(429, "{}".into(), 3600),
        1 => Reply::Say(200, scores(body).to_string()),
        _ => Reply::Say(500, "down".into()),
    });
    let all = ["é", "ee", "eee", "ee"].map(request);
    let mut scorer = HttpScorer::open(config(&broken.url), &path).unwrap();
    let error = scorer.score(&all).unwrap_err().to_string();
    assert!(error.contains("status 500: down") && error.contains("/score"), "{error}");
    drop(scorer);
    // What was answered is not asked again, nor is a text that stands there twice.
    let mended = Server::start(|_, body| Reply::Say(200, scores(body).to_string()));
    let mut scorer = HttpScorer::open(config(&mended.url), &path).unwrap();
    let totals = |scorer: &mut dyn ScoreText| -> Vec<f64> {
        scorer.score(&all).unwrap().iter().map(|score| score.total).collect()
    };
    assert_eq!(totals(&mut scorer), [-1.0, -2.0, -3.0, -2.0]);
    assert_eq!(scorer.score(&all).unwrap()[0].tokens, [(0..1, -1.0)]);
    assert!(scorer.score(&[]).unwrap().is_empty());
    let requests = mended.requests.lock().unwrap();
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].0, "POST /score HTTP/1.1");
    let row = json!([{"from": "en", "to": "de", "source": "a", "target": "é"}]);
    assert_eq!(requests[0].1, row);
    // The file is one of scores.
    drop(scorer);
    let mut scorer = FileScorer::read(&path, folder.path().join("wanted.jsonl")).unwrap();
    assert_eq!(totals(&mut scorer), [-1.0, -2.0, -3.0, -2.0]);
}

#[test]
fn wrong_answers_are_refused_and_nothing_of_them_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (answer, problem)) in [
        ("[]", "0 scores in the answer to 1 texts"),
        ("[{\"total\": 1e999}]", "expected [{"),
        ("[{\"total\": -1, \"tokens\": [[0, 9, -1]]}]", "a token outside"),
        ("{\"total\": -1}", "expected [{"),
        ("[{\"total\": -1", "ends early"),
    ]
    .into_iter()
    .enumerate()
    {
        let path = folder.path().join(format!("{number}.jsonl"));
        let server = Server::start(move |_, _| Reply::Say(200, answer.into()));
        let mut scorer = HttpScorer::open(config(&server.url), &path).unwrap();
        let error = scorer.score(&[request("x")]).unwrap_err().to_string();
        assert!(error.contains(problem), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }
    let path = folder.path().join("broken.jsonl");
    std::fs::write(&path, "{\"from\": 3}\n").unwrap();
    let error = HttpScorer::open(config("http://localhost:1"), &path).err().unwrap();
    assert!(matches!(error, Error::Score { line: 1, .. }), "{error}");
    let codes = [(Language::ZH, "zh-Hans".to_owned())].into();
    let error = HttpScorer::open(HttpConfig { codes, ..config("http://localhost:1") }, &path);
    assert!(error.err().unwrap().to_string().starts_with("codes"));
}
