//! Tests of servers that reject requests, fail, or send wrong content.
use crate::common::{
    COMMIT, Files, Home, NAME, Reply, Request, Server, WEIGHTS, files, listing, model, sha256,
    weights,
};

fn assert_holds(line: &str, parts: &[&str]) {
    for part in parts {
        assert!(line.contains(part), "{part:?} in {line}");
    }
}

/// Returns the error with a server whose responses are modified by `change`, and the paths that
/// remain in the cache.
fn refusal(
    files: Files,
    change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> (String, Vec<String>) {
    let server = Server::changed(files, change);
    let home = Home::new(&server.url);
    (home.refusal(NAME), home.tree())
}

#[test]
fn errors_by_status_contain_advice() {
    let all = |status, code: &'static str| {
        refusal(model(), move |_, _| Reply::new(status, "").with("X-Error-Code", code)).0
    };
    let of = "deepset/tiny, the list of files: ";
    assert_holds(&all(401, "RepoNotFound"), &[of, "status 401", "check the name", "HF_TOKEN"]);
    assert_holds(&all(401, "GatedRepo"), &["accept the terms at http://", "/deepset/tiny in"]);
    assert_holds(&all(403, "GatedRepo"), &["status 403", "accept the terms", "HF_TOKEN"]);
    assert_holds(&all(404, "RepoNotFound"), &[of, "status 404", "check the name"]);
    assert_holds(&all(429, ""), &["too many requests"]);
    assert_holds(&all(503, ""), &["status 503", "later"]);
    assert_holds(&all(418, ""), &["status 418", "HF_ENDPOINT"]);

    let gated = refusal(model(), |request, reply| match request.file() {
        Some("config.json") => Reply::new(403, "").with("X-Error-Code", "GatedRepo"),
        _ => reply,
    });
    assert_holds(&gated.0, &["deepset/tiny, config.json: ", "status 403", "accept the terms"]);
    assert!(gated.1.is_empty(), "{:?}", gated.1);

    let server = Server::start(|_| Reply::new(401, ""));
    let home = Home::new(&server.url).with("HF_TOKEN", "hf_secret");
    let line = home.refusal(NAME);
    assert_holds(&line, &["the token was not accepted"]);
    assert!(!line.contains("hf_secret"), "{line}");
}

#[test]
fn a_server_that_is_not_there_or_silent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_holds(&Home::new(&url).refusal(NAME), &["the list of files", "check the connection"]);

    let server = Server::changed(model(), |request, reply| match request.file() {
        Some(WEIGHTS) => Reply { cut: Some(10), hangs: true, ..reply },
        _ => reply,
    });
    let home = Home::new(&server.url).with("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let line = home.refusal(NAME);
    assert_holds(&line, &["deepset/tiny, model.safetensors: 40 of 300000 bytes", "timeout"]);

    for endpoint in ["huggingface.co", "ftp://huggingface.co", "file:///etc"] {
        assert_holds(&Home::new(endpoint).refusal(NAME), &["HF_ENDPOINT: expected https://"]);
    }
    let line = Home::new(&url).with("HF_TOKEN", "hf_secret\nhf_other").refusal(NAME);
    assert_holds(&line, &["HF_TOKEN: expected one word"]);
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn content_that_differs_from_its_description_is_deleted() {
    let (line, tree) = refusal(model(), |request, mut reply| {
        if request.file() == Some(WEIGHTS) && request.method == "GET" {
            reply.body[5] ^= 1;
        }
        reply
    });
    let digest = sha256(&weights());
    assert_holds(&line, &["deepset/tiny, model.safetensors: ", "SHA-256", &digest, "deleted"]);
    assert!(!tree.iter().any(|path| path.contains(&digest)), "{tree:?}");

    // Longer than the announced size.
    let (line, tree) = refusal(model(), |request, mut reply| {
        if request.file() == Some("config.json") && request.method == "GET" {
            reply.body.extend([b' '; 100]);
        }
        reply
    });
    assert_holds(&line, &["deepset/tiny, config.json: expected 2 bytes, got more"]);
    assert!(tree.is_empty(), "{tree:?}");
}

#[test]
fn a_commit_is_forty_digits() {
    let other = "f".repeat(40);
    for commit in ["../../../../evil", "main", "", &COMMIT[1..], &COMMIT.to_uppercase()] {
        let commit = commit.to_owned();
        let (line, tree) = refusal(model(), move |_, _| listing(&commit, model().keys()));
        assert_holds(&line, &["the list of files", "40 hex digits"]);
        assert!(tree.is_empty(), "{tree:?}");
    }
    // A commit other than the requested one, or other than that of the files.
    let wrong = other.clone();
    let server = Server::changed(model(), move |_, _| listing(&wrong, model().keys()));
    assert_holds(&Home::new(&server.url).refusal(&format!("{NAME}@{COMMIT}")), &["commit", &other]);
    let (line, _) = refusal(model(), move |request, reply| match request.file() {
        Some(_) => reply.with("X-Repo-Commit", &other),
        None => reply,
    });
    assert_holds(&line, &["config.json", "commit", COMMIT]);
}

#[test]
fn names_of_files_cannot_lead_elsewhere() {
    let hostile = ["../../evil", "/etc/passwd", "a/config.json", "..\\evil", "x.py"];
    let server = Server::start(move |request| match request.path.starts_with("/api") {
        true => listing(COMMIT, model().keys().map(String::as_str).chain(hostile)),
        false => crate::common::answer(&model(), request),
    });
    let home = Home::new(&server.url);
    assert_eq!(home.resolve(NAME).unwrap().origin.unwrap().files.len(), 4);
    let allowed = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"];
    for request in server.seen() {
        assert!(request.file().is_none_or(|file| allowed.contains(&file)), "{request:?}");
    }

    for shard in [
        "../../../evil.safetensors",
        "/tmp/evil.safetensors",
        "a\\\\evil.safetensors",
        "a/evil.safetensors",
        ".safetensors",
        "pytorch_model.bin",
        "",
    ] {
        let index = format!(r#"{{"weight_map": {{"a": "{shard}"}}}}"#);
        let files = files(&[("config.json", "{}"), ("model.safetensors.index.json", &index)]);
        let (line, tree) = refusal(files, |_, reply| reply);
        assert_holds(&line, &["model.safetensors.index.json", "model-00001-of-00002.safetensors"]);
        assert!(!tree.iter().any(|path| path.contains("evil")), "{tree:?}");
    }
    for index in ["{}", "[", r#"{"weight_map": {}}"#] {
        let files = files(&[("config.json", "{}"), ("model.safetensors.index.json", index)]);
        assert_holds(&refusal(files, |_, reply| reply).0, &["weight_map"]);
    }
}

#[test]
fn etags_cannot_lead_elsewhere() {
    for etag in ["\"../../../evil\"", "\"/tmp/evil\"", "\"\"", "\"a.lock\"", "\"..\"", "\"a b\""] {
        let (line, tree) = refusal(model(), move |_, reply| reply.with("ETag", etag));
        assert_holds(&line, &["config.json", "expected ETag"]);
        assert!(tree.is_empty(), "{tree:?}");
    }
}

#[test]
fn redirects_are_limited_and_stay_on_http() {
    let to = |location: &'static str| {
        refusal(model(), move |_, _| Reply::new(302, "").with("Location", location)).0
    };
    assert_holds(&to("/api/models/deepset/tiny/revision/main"), &["more than 10 times"]);
    assert_holds(&to("file:///etc/passwd"), &["expected a redirect", "file:///etc/passwd"]);
    assert_holds(&to("//127.0.0.1/a"), &["expected a redirect"]);
    assert_holds(&to(""), &["expected a redirect"]);
}

#[test]
fn lists_are_limited_and_lists() {
    let (line, _) = refusal(model(), |_, _| Reply::new(200, vec![b' '; (16 << 20) + 1]));
    assert_holds(&line, &["the list of files", "at most 16777216 bytes"]);
    for body in ["", "{}", "<html>", "{\"sha\": 1}"] {
        let (line, _) = refusal(model(), move |_, _| Reply::new(200, body));
        assert_holds(&line, &["the list of files", "expected JSON"]);
    }
}

#[test]
fn a_repository_without_safetensors() {
    let server = Server::of(files(&[("config.json", "{}"), ("pytorch_model.bin", "pickle")]));
    let home = Home::new(&server.url);
    let line = home.refusal(&format!("{NAME}@v1"));
    assert_holds(
        &line,
        &["pickle", "python3 -c", "\"deepset/tiny\", revision=\"v1\"", "save_pretrained"],
    );
    assert_eq!(server.seen().len(), 1, "the list alone");
    assert!(home.tree().is_empty());

    let (line, _) = refusal(files(&[("config.json", "{}")]), |_, reply| reply);
    assert_holds(&line, &["neither model.safetensors nor"]);
    let (line, _) = refusal(files(&[(WEIGHTS, "x")]), |_, reply| reply);
    assert_holds(&line, &["no config.json"]);
}
