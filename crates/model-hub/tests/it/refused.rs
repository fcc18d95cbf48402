//! Tests of servers that reject requests, fail, or send wrong content.
use testkit::assert_contains;

use crate::common::{
    COMMIT, Files, Home, NAME, Reply, Request, Server, WEIGHTS, files, listing, model, sha256,
    weights,
};

/// Returns the error with a server whose responses are modified by `change`, and the paths that
/// remain in the cache.
fn error_and_paths(
    files: Files,
    change: impl Fn(&Request, Reply) -> Reply + Send + Sync + 'static,
) -> (String, Vec<String>) {
    let server = Server::with_changed_replies(files, change);
    let home = Home::new(&server.url);
    (home.error_message(NAME), home.paths())
}

#[test]
fn errors_by_status_contain_advice() {
    let prefix = "deepset/tiny, the list of files: ";
    for (status, code, parts) in [
        (401, "RepoNotFound", &[prefix, "status 401", "check the name", "HF_TOKEN"][..]),
        (401, "GatedRepo", &["accept the terms at http://", "/deepset/tiny in"]),
        (403, "GatedRepo", &["status 403", "accept the terms", "HF_TOKEN"]),
        (404, "RepoNotFound", &[prefix, "status 404", "check the name"]),
        (429, "", &["too many requests"]),
        (503, "", &["status 503", "later"]),
        (418, "", &["status 418", "HF_ENDPOINT"]),
    ] {
        let reply = move |_: &Request, _: Reply| Reply::new(status, "").with("X-Error-Code", code);
        assert_contains(&error_and_paths(model(), reply).0, parts);
    }

    let gated = error_and_paths(model(), |request, reply| match request.file() {
        Some("config.json") => Reply::new(403, "").with("X-Error-Code", "GatedRepo"),
        _ => reply,
    });
    assert_contains(&gated.0, &["deepset/tiny, config.json: ", "status 403", "accept the terms"]);
    assert!(gated.1.is_empty(), "{:?}", gated.1);

    let server = Server::start(|_| Reply::new(401, ""));
    let home = Home::new(&server.url).with("HF_TOKEN", "hf_secret");
    let line = home.error_message(NAME);
    assert_contains(&line, &["the token was not accepted"]);
    assert!(!line.contains("hf_secret"), "{line}");
}

#[test]
fn an_unreachable_or_silent_server() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    assert_contains(
        &Home::new(&url).error_message(NAME),
        &["the list of files", "check the connection"],
    );

    let server = Server::with_changed_replies(model(), |request, reply| match request.file() {
        Some(WEIGHTS) => Reply { close_after: Some(10), hangs: true, ..reply },
        _ => reply,
    });
    let home = Home::new(&server.url).with("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let line = home.error_message(NAME);
    assert_contains(
        &line,
        &["deepset/tiny, model.safetensors: received 40 of 300000 bytes", "timeout"],
    );

    for endpoint in ["huggingface.co", "ftp://huggingface.co", "file:///etc"] {
        assert_contains(
            &Home::new(endpoint).error_message(NAME),
            &["HF_ENDPOINT: expected an address such as https://"],
        );
    }
    let line = Home::new(&url).with("HF_TOKEN", "hf_secret\nhf_other").error_message(NAME);
    assert_contains(&line, &["HF_TOKEN: expected ASCII"]);
    assert!(!line.contains("secret"), "{line}");
}

#[test]
fn content_that_differs_from_its_description_is_deleted() {
    let (line, tree) = error_and_paths(model(), |request, mut reply| {
        if request.file() == Some(WEIGHTS) && request.method == "GET" {
            reply.body[5] ^= 1;
        }
        reply
    });
    let digest = sha256(&weights());
    assert_contains(&line, &["deepset/tiny, model.safetensors: ", "SHA-256", &digest, "deleted"]);
    assert!(!tree.iter().any(|path| path.contains(&digest)), "{tree:?}");

    // Longer than the announced size.
    let (line, tree) = error_and_paths(model(), |request, mut reply| {
        if request.file() == Some("config.json") && request.method == "GET" {
            reply.body.extend([b' '; 100]);
        }
        reply
    });
    assert_contains(&line, &["deepset/tiny, config.json: expected 2 bytes, got more"]);
    assert!(tree.is_empty(), "{tree:?}");
}

#[test]
fn a_commit_is_forty_digits() {
    let other = "f".repeat(40);
    for commit in ["../../../../evil", "main", "", &COMMIT[1..], &COMMIT.to_uppercase()] {
        let commit = commit.to_owned();
        let (line, tree) = error_and_paths(model(), move |_, _| listing(&commit, model().keys()));
        assert_contains(&line, &["the list of files", "40 hex digits"]);
        assert!(tree.is_empty(), "{tree:?}");
    }
    // A commit other than the requested one, or other than that of the files.
    let wrong = other.clone();
    let server = Server::with_changed_replies(model(), move |_, _| listing(&wrong, model().keys()));
    assert_contains(
        &Home::new(&server.url).error_message(&format!("{NAME}@{COMMIT}")),
        &["commit", &other],
    );
    let (line, _) = error_and_paths(model(), move |request, reply| match request.file() {
        Some(_) => reply.with("X-Repo-Commit", &other),
        None => reply,
    });
    assert_contains(&line, &["config.json", "commit", COMMIT]);
}

#[test]
fn file_names_cannot_leave_the_cache() {
    let hostile = ["../../evil", "/etc/passwd", "a/config.json", "..\\evil", "x.py"];
    let server = Server::start(move |request| match request.path.starts_with("/api") {
        true => listing(COMMIT, model().keys().map(String::as_str).chain(hostile)),
        false => crate::common::hub_reply(&model(), request),
    });
    let home = Home::new(&server.url);
    assert_eq!(home.resolve(NAME).unwrap().origin.unwrap().files.len(), 4);
    let allowed = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"];
    for request in server.requests() {
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
        let (line, tree) = error_and_paths(files, |_, reply| reply);
        assert_contains(
            &line,
            &["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
        );
        assert!(!tree.iter().any(|path| path.contains("evil")), "{tree:?}");
    }
    for index in ["{}", "[", r#"{"weight_map": {}}"#] {
        let files = files(&[("config.json", "{}"), ("model.safetensors.index.json", index)]);
        assert_contains(&error_and_paths(files, |_, reply| reply).0, &["weight_map"]);
    }
}

#[test]
fn etags_cannot_leave_the_cache() {
    for etag in ["\"../../../evil\"", "\"/tmp/evil\"", "\"\"", "\"a.lock\"", "\"..\"", "\"a b\""] {
        let (line, tree) = error_and_paths(model(), move |_, reply| reply.with("ETag", etag));
        assert_contains(&line, &["config.json", "expected ETag"]);
        assert!(tree.is_empty(), "{tree:?}");
    }
}

#[test]
fn redirects_are_limited_and_stay_on_http() {
    for (location, parts) in [
        ("/api/models/deepset/tiny/revision/main", &["more than 10 times"][..]),
        ("file:///etc/passwd", &["expected a redirect", "file:///etc/passwd"]),
        ("//127.0.0.1/a", &["expected a redirect"]),
        ("", &["expected a redirect"]),
    ] {
        let redirect = move |_: &Request, _: Reply| Reply::new(302, "").with("Location", location);
        assert_contains(&error_and_paths(model(), redirect).0, parts);
    }
}

#[test]
fn file_lists_are_json_of_limited_size() {
    let (line, _) = error_and_paths(model(), |_, _| Reply::new(200, vec![b' '; (16 << 20) + 1]));
    assert_contains(&line, &["the list of files", "at most 16777216 bytes"]);
    for body in ["", "{}", "<html>", "{\"sha\": 1}"] {
        let (line, _) = error_and_paths(model(), move |_, _| Reply::new(200, body));
        assert_contains(&line, &["the list of files", "expected JSON"]);
    }
}

#[test]
fn a_repository_without_safetensors() {
    let server =
        Server::with_files(files(&[("config.json", "{}"), ("pytorch_model.bin", "pickle")]));
    let home = Home::new(&server.url);
    let line = home.error_message(&format!("{NAME}@v1"));
    assert_contains(
        &line,
        &["pickle", "python3 -c", "\"deepset/tiny\", revision=\"v1\"", "save_pretrained"],
    );
    assert_eq!(server.requests().len(), 1, "only the list");
    assert!(home.paths().is_empty());

    let (line, _) = error_and_paths(files(&[("config.json", "{}")]), |_, reply| reply);
    assert_contains(&line, &["neither model.safetensors nor"]);
    let (line, _) = error_and_paths(files(&[(WEIGHTS, "x")]), |_, reply| reply);
    assert_contains(&line, &["no config.json"]);
}
