//! Tests with servers that reject requests, fail, or send wrong content.
use testkit::assert_contains;

use crate::common::{
    COMMIT, Files, Home, NAME, Reply, Request, Server, WEIGHTS, files, listing, model, sha256,
    weights,
};

/// Returns the error message with a server whose responses are modified by `change`, and the paths
/// that remain in the cache.
fn resolve_error(
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
        let reply =
            move |_: &Request, _: Reply| Reply::new(status, "").header("X-Error-Code", code);
        assert_contains(&resolve_error(model(), reply).0, parts);
    }

    let (error, paths) = resolve_error(model(), |request, reply| match request.file() {
        Some("config.json") => Reply::new(403, "").header("X-Error-Code", "GatedRepo"),
        _ => reply,
    });
    assert_contains(&error, &["deepset/tiny, config.json: ", "status 403", "accept the terms"]);
    assert!(paths.is_empty(), "{paths:?}");

    let server = Server::start(|_| Reply::new(401, ""));
    let home = Home::new(&server.url).env("HF_TOKEN", "hf_secret");
    let error = home.error_message(NAME);
    assert_contains(&error, &["the token was not accepted"]);
    assert!(!error.contains("hf_secret"), "{error}");
}

#[test]
fn unreachable_and_silent_servers_are_reported() {
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
    let home = Home::new(&server.url).env("HF_HUB_DOWNLOAD_TIMEOUT", "1");
    let error = home.error_message(NAME);
    assert_contains(
        &error,
        &["deepset/tiny, model.safetensors: received 40 of 300000 bytes", "timeout"],
    );

    for endpoint in ["huggingface.co", "ftp://huggingface.co", "file:///etc"] {
        assert_contains(
            &Home::new(endpoint).error_message(NAME),
            &["HF_ENDPOINT: expected an address such as https://"],
        );
    }
    let error = Home::new(&url).env("HF_TOKEN", "hf_secret\nhf_other").error_message(NAME);
    assert_contains(&error, &["HF_TOKEN: expected ASCII"]);
    assert!(!error.contains("secret"), "{error}");
}

#[test]
fn content_that_differs_from_its_description_is_deleted() {
    let (error, paths) = resolve_error(model(), |request, mut reply| {
        if request.file() == Some(WEIGHTS) && request.method == "GET" {
            reply.body[5] ^= 1;
        }
        reply
    });
    let digest = sha256(&weights());
    assert_contains(&error, &["deepset/tiny, model.safetensors: ", "SHA-256", &digest, "deleted"]);
    assert!(!paths.iter().any(|path| path.contains(&digest)), "{paths:?}");

    // The content is longer than the announced size.
    let (error, paths) = resolve_error(model(), |request, mut reply| {
        if request.file() == Some("config.json") && request.method == "GET" {
            reply.body.extend([b' '; 100]);
        }
        reply
    });
    assert_contains(&error, &["deepset/tiny, config.json: expected 2 bytes, got more"]);
    assert!(paths.is_empty(), "{paths:?}");
}

#[test]
fn commits_other_than_40_hex_digits_are_rejected() {
    let other_commit = "f".repeat(40);
    for commit in ["../../../../evil", "main", "", &COMMIT[1..], &COMMIT.to_uppercase()] {
        let commit = commit.to_owned();
        let (error, paths) = resolve_error(model(), move |_, _| listing(&commit, model().keys()));
        assert_contains(&error, &["the list of files", "40 hex digits"]);
        assert!(paths.is_empty(), "{paths:?}");
    }
    // First, the commit of the list of files differs from the requested commit. Below, the commit
    // of each file differs from the commit of the list.
    let listed = other_commit.clone();
    let server =
        Server::with_changed_replies(model(), move |_, _| listing(&listed, model().keys()));
    assert_contains(
        &Home::new(&server.url).error_message(&format!("{NAME}@{COMMIT}")),
        &["commit", &other_commit],
    );
    let (error, _) = resolve_error(model(), move |request, reply| match request.file() {
        Some(_) => reply.header("X-Repo-Commit", &other_commit),
        None => reply,
    });
    assert_contains(&error, &["config.json", "commit", COMMIT]);
}

#[test]
fn file_names_cannot_leave_the_cache() {
    let invalid_names = ["../../evil", "/etc/passwd", "a/config.json", "..\\evil", "x.py"];
    let server = Server::start(move |request| match request.path.starts_with("/api") {
        true => listing(COMMIT, model().keys().map(String::as_str).chain(invalid_names)),
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
        let (error, paths) = resolve_error(files, |_, reply| reply);
        assert_contains(
            &error,
            &["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
        );
        assert!(!paths.iter().any(|path| path.contains("evil")), "{paths:?}");
    }
    for index in ["{}", "[", r#"{"weight_map": {}}"#] {
        let files = files(&[("config.json", "{}"), ("model.safetensors.index.json", index)]);
        assert_contains(&resolve_error(files, |_, reply| reply).0, &["weight_map"]);
    }
}

#[test]
fn etags_cannot_leave_the_cache() {
    for etag in ["\"../../../evil\"", "\"/tmp/evil\"", "\"\"", "\"a.lock\"", "\"..\"", "\"a b\""] {
        let (error, paths) = resolve_error(model(), move |_, reply| reply.header("ETag", etag));
        assert_contains(&error, &["config.json", "expected ETag"]);
        assert!(paths.is_empty(), "{paths:?}");
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
        let redirect =
            move |_: &Request, _: Reply| Reply::new(302, "").header("Location", location);
        assert_contains(&resolve_error(model(), redirect).0, parts);
    }
}

#[test]
fn file_lists_are_json_of_limited_size() {
    let (error, _) = resolve_error(model(), |_, _| Reply::new(200, vec![b' '; (16 << 20) + 1]));
    assert_contains(&error, &["the list of files", "at most 16777216 bytes"]);
    for body in ["", "{}", "<html>", "{\"sha\": 1}"] {
        let (error, _) = resolve_error(model(), move |_, _| Reply::new(200, body));
        assert_contains(&error, &["the list of files", "expected JSON"]);
    }
}

#[test]
fn a_repository_without_safetensors_is_rejected() {
    let server =
        Server::with_files(files(&[("config.json", "{}"), ("pytorch_model.bin", "pickle")]));
    let home = Home::new(&server.url);
    let error = home.error_message(&format!("{NAME}@v1"));
    assert_contains(
        &error,
        &["pickle", "python3 -c", "\"deepset/tiny\", revision=\"v1\"", "save_pretrained"],
    );
    assert_eq!(server.requests().len(), 1, "only the list");
    assert!(home.paths().is_empty());

    let (error, _) = resolve_error(files(&[("config.json", "{}")]), |_, reply| reply);
    assert_contains(&error, &["neither model.safetensors nor"]);
    let (error, _) = resolve_error(files(&[(WEIGHTS, "x")]), |_, reply| reply);
    assert_contains(&error, &["no config.json"]);
}
